-- Which process of the server's has this session; a pooler has told its client another number.
SELECT pg_backend_pid()
