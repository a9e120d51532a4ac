-- Dead letters of the last day and altogether, up to a number.
SELECT
    (
        SELECT count(*)
        FROM (
            SELECT FROM pgqueue.dead_letters WHERE died_at > now() - interval '1 day' LIMIT %(most)s
        ) AS part
    )::integer AS of_a_day,
    (SELECT count(*) FROM (SELECT FROM pgqueue.dead_letters LIMIT %(most)s) AS part)::integer AS in_all
