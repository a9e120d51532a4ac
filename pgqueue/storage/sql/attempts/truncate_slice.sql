TRUNCATE pgqueue.attempts_0
