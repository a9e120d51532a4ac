SELECT slot::integer AS slot, state, turn, first_id, extract(epoch FROM now() - changed_at)::double precision AS age_s
FROM pgqueue.slots
ORDER BY turn, slot
