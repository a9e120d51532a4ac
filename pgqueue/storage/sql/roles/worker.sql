-- a worker; `migrate` stays with the owner of the tables, and with it the revision
GRANT USAGE ON SCHEMA pgqueue TO app_worker;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA pgqueue TO app_worker;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON pgqueue.alembic_version FROM app_worker;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA pgqueue TO app_worker;
