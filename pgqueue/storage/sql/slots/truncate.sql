TRUNCATE pgqueue.messages_0, pgqueue.ready_0, pgqueue.leases_0
