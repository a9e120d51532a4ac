"""One worker process without a supervisor: ``python -m tests.drills.worker THREADS``; SIGTERM stops it gracefully."""

import logging
import signal
import sys
import threading

from pgqueue.worker import Worker

from .program import broker


def main() -> None:
    """Work until told to stop."""
    logging.basicConfig(format="[%(asctime)s] [PID %(process)d] [%(name)s] [%(levelname)s] %(message)s")
    logging.getLogger("pgqueue.middleware").setLevel(logging.CRITICAL)
    logging.getLogger("pgqueue.worker.WorkerThread").setLevel(logging.CRITICAL)
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    broker.emit_after("process_boot")
    worker = Worker(broker, worker_threads=int(sys.argv[1]))
    worker.start()
    print("up", flush=True)
    asked.wait()
    worker.stop(timeout=20_000)
    broker.close()


if __name__ == "__main__":
    main()
