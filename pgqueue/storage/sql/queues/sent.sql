-- How many messages were ever sent, retries included: the sequence that numbers them.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS sent
FROM pgqueue.message_seq
