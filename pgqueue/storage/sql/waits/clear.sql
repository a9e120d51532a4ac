TRUNCATE pgqueue.waits
