"""One worker process without a supervisor: ``python -m tests.drills.worker THREADS``; SIGTERM stops it gracefully."""

import logging
import os
import signal
import sys
import threading

from pgqueue.worker import Worker

from . import charges
from .program import broker


def main() -> None:
    """Work until told to stop."""
    logging.basicConfig(format="[%(asctime)s] [PID %(process)d] [%(name)s] [%(levelname)s] %(message)s")
    logging.getLogger("pgqueue.middleware").setLevel(logging.CRITICAL)
    logging.getLogger("pgqueue.worker.WorkerThread").setLevel(logging.CRITICAL)
    asked, parent = threading.Event(), os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    broker.emit_after("process_boot")
    assert set(charges.NAMES) <= broker.get_declared_actors()
    worker = Worker(broker, worker_threads=int(sys.argv[1]))
    worker.start()
    print("up", flush=True)
    while not asked.wait(1.0) and os.getppid() == parent:
        pass  # a drill that was killed takes its workers along
    worker.stop(timeout=20_000)
    broker.close()


if __name__ == "__main__":
    main()
