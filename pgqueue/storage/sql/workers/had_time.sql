-- Whether somebody of ours, worker or sender, has been connected for so many seconds and has asked something since: then
-- the others had time to connect as well. Who may not see the sessions of other roles finds none.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database()
        AND starts_with(application_name, 'pgqueue')
        AND backend_start < clock_timestamp() - %(calm_s)s * interval '1 second'
        AND state_change > clock_timestamp() - %(calm_s)s * interval '1 second'
) AS had_time
