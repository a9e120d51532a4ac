-- Strikes a place out; no row if it was freed already, because its owner was lost.
DELETE FROM pgqueue.rate_limit_places
WHERE owner = %(owner)s::uuid AND id = %(id)s::bigint
RETURNING key
