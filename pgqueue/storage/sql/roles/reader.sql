-- a reader: figures, lists, statuses, results, the arguments of messages; changes nothing
GRANT USAGE ON SCHEMA pgqueue TO app_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA pgqueue TO app_reader;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA pgqueue TO app_reader;
