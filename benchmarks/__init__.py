"""Measurements of pgqueue, each beside a reference measured in the same run on the same server.

``make bench`` or ``pgqueue bench`` runs them. One module measures one thing and has a ``measure(bench)``; `figures`
holds the targets, `command` the command line, `table` and `page` show what came out.
"""
