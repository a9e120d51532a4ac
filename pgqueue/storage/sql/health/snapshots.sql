-- Who keeps the oldest snapshot or transaction of this database, so that nothing younger can be cleaned away: sessions,
-- prepared transactions and replication slots, those that go furthest back first.
SELECT kind, name, detail, age_s, age_xids
FROM (
    SELECT
        'session' AS kind, pid::text AS name,
        concat_ws(', ', nullif(usename, ''), nullif(application_name, ''), state) || ': ' || left(query, 200) AS detail,
        extract(epoch FROM clock_timestamp() - xact_start)::double precision AS age_s,
        greatest(age(backend_xmin), age(backend_xid)) AS age_xids
    FROM pg_stat_activity
    WHERE datname = current_database()
        AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'
        AND xact_start IS NOT NULL
        AND coalesce(backend_xmin, backend_xid) IS NOT NULL
    UNION ALL
    SELECT
        'prepared transaction', gid, owner::text,
        extract(epoch FROM clock_timestamp() - prepared)::double precision, age(transaction)
    FROM pg_prepared_xacts
    WHERE database = current_database()
    UNION ALL
    SELECT
        'replication slot', slot_name::text, CASE WHEN active THEN 'active' ELSE 'not active' END, NULL,
        greatest(age(xmin), age(catalog_xmin))
    FROM pg_replication_slots
    WHERE coalesce(xmin, catalog_xmin) IS NOT NULL
) AS holder
ORDER BY age_xids DESC NULLS LAST
LIMIT 5
