-- a caller: a producer that also reads results and statuses, counts messages, joins queues
GRANT USAGE ON SCHEMA pgqueue TO app_caller;
GRANT SELECT ON ALL TABLES IN SCHEMA pgqueue TO app_caller;
GRANT INSERT ON pgqueue.lanes, pgqueue.messages, pgqueue.ready, pgqueue.scheduled TO app_caller;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA pgqueue TO app_caller;
GRANT INSERT, DELETE ON pgqueue.waits TO app_caller;
-- … and uses rate limits, or groups with callbacks
GRANT INSERT, UPDATE, DELETE ON pgqueue.rate_limits, pgqueue.rate_limit_places TO app_caller;
