TRUNCATE pgqueue.results_0
