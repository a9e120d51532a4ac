"""pgqueue side by side with other queues for Python: the same work, machine and server, each by its own settings.

``make bench-peers`` runs it. `programs` has one file for each queue, which says what it needs and how it is set, and
runs in a virtual environment of its own; everything else is shared: `peer` reads what a file says, `environments` and
`services` make what it needs, `ledger` is where its tasks write that they ran, `program` sends, `workers` runs its
workers, `scenarios` measures, `command` is the command line and `table` shows what came out.

`ledger`, `program` and `programs` run in the other queues' environments: they import nothing but those and the standard
library.
"""
