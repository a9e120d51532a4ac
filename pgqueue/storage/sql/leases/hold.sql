-- Takes the row lock of a lease that the caller still holds a message of: until the end of the transaction nobody can
-- reclaim it, and its slot is not emptied.
SELECT slot::integer AS slot
FROM pgqueue.leases
WHERE lid = %(lid)s AND owner = %(owner)s::uuid AND %(id)s = ANY (ids) AND %(id)s <> ALL (done)
FOR UPDATE
