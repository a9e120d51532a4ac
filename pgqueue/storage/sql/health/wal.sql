-- How many bytes the server has written to its log since it was made; a standby: how many it has replayed.
SELECT
    pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, '0/0'
    )::bigint AS bytes
