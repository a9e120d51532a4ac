-- an operator: looks at everything, pauses, cancels, sends dead letters again, purges; the revision is the owner's
GRANT USAGE ON SCHEMA pgqueue TO app_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgqueue TO app_operator;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON pgqueue.alembic_version FROM app_operator;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA pgqueue TO app_operator;
GRANT USAGE ON SEQUENCE pgqueue.message_seq, pgqueue.catalog_seq TO app_operator;
-- Earlier releases granted these, too: whoever moves open_slot says where everybody writes.
REVOKE UPDATE ON ALL SEQUENCES IN SCHEMA pgqueue FROM app_operator;
REVOKE USAGE ON SEQUENCE pgqueue.open_slot, pgqueue.lease_seq, pgqueue.rewind_seq, pgqueue.lanes_id_seq,
    pgqueue.dead_letters_id_seq, pgqueue.rate_limit_places_id_seq, pgqueue.idle_0, pgqueue.idle_1,
    pgqueue.idle_2, pgqueue.idle_3, pgqueue.idle_4, pgqueue.idle_5, pgqueue.idle_6, pgqueue.idle_7,
    pgqueue.idle_8, pgqueue.idle_9, pgqueue.idle_10, pgqueue.idle_11, pgqueue.idle_12, pgqueue.idle_13,
    pgqueue.idle_14, pgqueue.idle_15
    FROM app_operator;
