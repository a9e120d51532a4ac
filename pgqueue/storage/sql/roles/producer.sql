-- a producer: sends, and nothing else
GRANT USAGE ON SCHEMA pgqueue TO app_producer;
GRANT SELECT, INSERT ON pgqueue.lanes, pgqueue.messages, pgqueue.ready, pgqueue.scheduled TO app_producer;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA pgqueue TO app_producer;
