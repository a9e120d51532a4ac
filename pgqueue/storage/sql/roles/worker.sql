-- a worker; `migrate` stays with the owner of the tables
GRANT USAGE ON SCHEMA pgqueue TO app_worker;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA pgqueue TO app_worker;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA pgqueue TO app_worker;
