-- Strikes out what a lost owner held; a key comes as often as he held it.
DELETE FROM pgqueue.rate_limit_places
WHERE owner = %(owner)s::uuid
RETURNING key
