-- Which process of the server's has this session (a pooler has told its client another number), and which server it is:
-- no two have started in the same microsecond. And what time it is there.
SELECT
    pg_backend_pid(),
    extract(epoch FROM pg_postmaster_start_time())::text,
    (extract(epoch FROM clock_timestamp()) * 1000)::double precision
