-- The leases of one owner: which slot each is in now, and what it still holds.
SELECT lid, slot::integer AS slot, ids, done
FROM pgqueue.leases
WHERE owner = %(owner)s::uuid
