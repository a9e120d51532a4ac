"""A flood from elsewhere: ``python -m benchmarks.flood URL SCHEMA`` sends more than can be run."""

from __future__ import annotations

import sys
import time

from .app import make_broker

__all__: list[str] = []

#: So many at once, so many seconds apart, and so often: 20,000 a second for ten seconds at most.
BATCH, PAUSE_S, BATCHES = 1_000, 0.05, 200


def main(url: str, schema: str) -> None:
    """Send short jobs, and print a line for each batch."""
    short = make_broker(url, schema, results=False).get_actor("short")
    for number in range(BATCHES):
        short.send_many([(1.0,)] * BATCH)
        print(number, flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
