-- a caller: a producer that also reads results and statuses, counts messages, joins queues
GRANT USAGE ON SCHEMA pgqueue TO app_caller;
GRANT SELECT ON ALL TABLES IN SCHEMA pgqueue TO app_caller;
GRANT INSERT ON pgqueue.lanes, pgqueue.messages, pgqueue.ready, pgqueue.scheduled TO app_caller;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA pgqueue TO app_caller;
GRANT USAGE ON SEQUENCE pgqueue.message_seq, pgqueue.catalog_seq TO app_caller;
GRANT INSERT, DELETE ON pgqueue.waits TO app_caller;
-- … and uses rate limits, or groups with callbacks
GRANT INSERT, UPDATE, DELETE ON pgqueue.rate_limits, pgqueue.rate_limit_places TO app_caller;
-- Earlier releases granted these, too: whoever moves open_slot says where everybody writes.
REVOKE UPDATE ON ALL SEQUENCES IN SCHEMA pgqueue FROM app_caller;
REVOKE USAGE ON SEQUENCE pgqueue.open_slot, pgqueue.lease_seq, pgqueue.rewind_seq, pgqueue.lanes_id_seq,
    pgqueue.dead_letters_id_seq, pgqueue.rate_limit_places_id_seq, pgqueue.idle_0, pgqueue.idle_1,
    pgqueue.idle_2, pgqueue.idle_3, pgqueue.idle_4, pgqueue.idle_5, pgqueue.idle_6, pgqueue.idle_7,
    pgqueue.idle_8, pgqueue.idle_9, pgqueue.idle_10, pgqueue.idle_11, pgqueue.idle_12, pgqueue.idle_13,
    pgqueue.idle_14, pgqueue.idle_15
    FROM app_caller;
