-- Waits out every transaction that still writes here. Only the rotator takes this lock, and only with a lock_timeout.
LOCK TABLE pgqueue.messages_0, pgqueue.ready_0, pgqueue.leases_0 IN ACCESS EXCLUSIVE MODE
