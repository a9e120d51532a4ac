TRUNCATE pgqueue.outcomes_0
