-- Where a connection is: the same text for two connections to the same schema of the same database of the same server.
-- Reads catalogs only, which everybody may, so that it fails in no transaction: an application's may be open.
SELECT
    concat_ws('/', control.system_identifier, database.oid, coalesce(messages.oid, 0)) AS place,
    versions.oid IS NOT NULL AS is_migrated,
    coalesce(
        has_schema_privilege(namespace.oid, 'USAGE') AND has_table_privilege(messages.oid, 'INSERT'), false
    ) AS may_send,
    coalesce(
        has_schema_privilege(namespace.oid, 'USAGE') AND has_table_privilege(versions.oid, 'SELECT'), false
    ) AS may_read_revision
FROM pg_catalog.pg_control_system() AS control
CROSS JOIN pg_catalog.pg_database AS database
LEFT JOIN pg_catalog.pg_namespace AS namespace ON namespace.nspname = %(schema)s::text
LEFT JOIN pg_catalog.pg_class AS messages ON messages.relnamespace = namespace.oid AND messages.relname = 'messages'
LEFT JOIN pg_catalog.pg_class AS versions
    ON versions.relnamespace = namespace.oid AND versions.relname = 'alembic_version'
WHERE database.datname = current_database()
