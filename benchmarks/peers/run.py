"""Runs one queue's program in the queue's own environment; see `program`.

python -m benchmarks.peers.run NAME ACT [FIRST COUNT]
"""

from __future__ import annotations

import importlib
import sys

from benchmarks.peers.program import main

if __name__ == "__main__":
    name, *words = sys.argv[1:]
    # Under its full name, for that is what many queues write into their messages.
    main(importlib.import_module(f"benchmarks.peers.programs.{name}").PROGRAM, words)
