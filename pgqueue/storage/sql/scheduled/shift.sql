-- Lets the time of all delayed messages go forward: for the tests of programs. Those that are due by then have to be
-- promoted from the beginning, for they may lie behind the position of every promoter.
UPDATE pgqueue.scheduled
SET due_at = due_at - %(by_ms)s * interval '1 millisecond'
