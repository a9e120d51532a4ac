-- Deletes the leases of one owner in which nothing is left to settle.
DELETE FROM pgqueue.leases
WHERE owner = %(owner)s::uuid AND ids <@ done
