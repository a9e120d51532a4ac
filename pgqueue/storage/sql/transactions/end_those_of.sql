-- Ends the sessions in which transactional actors still run whose messages were claimed in a name that was given up.
-- Nothing of theirs can commit any more, and their locks would hold up whoever runs the messages again: until a silent
-- process ends, or until the server finds out that a machine is gone.
SELECT count(*) FILTER (WHERE pg_terminate_backend(held.pid)) AS ended
FROM pg_locks AS held
JOIN pg_stat_activity AS session USING (pid)
WHERE held.locktype = 'advisory'
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND held.objsubid = 2
    AND held.classid = %(high)s::integer::oid
    AND held.objid = %(low)s::integer::oid
    AND held.granted
    AND held.pid <> pg_backend_pid()
    AND pg_has_role(session.usesysid, 'USAGE')
