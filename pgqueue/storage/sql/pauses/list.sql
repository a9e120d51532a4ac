SELECT kind, name, paused_at
FROM pgqueue.pauses
ORDER BY kind DESC, name
