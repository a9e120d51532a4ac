"""Drills: real processes on a real server, under load, killed, stopped and cut off at random moments.

What was sent and what ran is written into a ledger outside the queue; `checks` compares it with what the queue says.
``make test`` runs short versions, ``make drills`` (PGQUEUE_DRILLS=usual) longer ones, PGQUEUE_DRILLS=full the whole,
PGQUEUE_DRILLS=reach as much as docs/reliability.md gives figures of. PGQUEUE_DRILL_SEED repeats one.
"""
