"""The body of a worker process: load the program, run a Worker, stop it when told."""

import gc
import importlib
from contextlib import suppress

from ..broker import Broker
from ..errors import BrokerConnectionError, PgQueueError
from ..logging import OwnLogger, own_logger
from ..worker import Worker
from .crashes import crash_file, note_crashes
from .home import Booted, Dismissed, Failed, Home, Retired
from .loading import explain, import_broker, shown
from .log_format import JSON, know_current_message
from .retirement import Retirement
from .settings import Settings
from .signals import StopRequest, unblock

__all__ = ["run_worker"]

#: Seconds between two looks whether the last messages of a process that retires have ended.
WINDING_DOWN_S = 0.05


class _CannotStart(Exception):
    """Carries a reason home that has been put into words already."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def run_worker(home: Home, settings: Settings, *, index: int) -> int:
    """Be worker process number ``index``; return the exit code."""
    logger = own_logger("pgqueue", f"WorkerProcess({index})")
    stop = StopRequest()
    unblock()
    if home.board is not None:
        note_crashes(home.board)
    try:
        broker = _load(settings, logger)
        if settings.log_format == JSON:
            know_current_message(broker)
        _spare_the_collector()
        retirement = _add_retirement(broker, stop, settings)
        logger.debug("Starting %d worker threads.", settings.threads)
        broker.on_stop_ordered(stop.order)
        worker = _start(broker, settings) if not stop.requested else None
    except _CannotStart as error:
        home.report(Failed(str(error)))
        return error.code
    if worker is not None:
        home.report(Booted(_fork_names(broker), _fork_environment(broker)))
        logger.info("Worker process is ready for action.")
        _work(worker, stop, retirement)
        if news := _farewell(stop, retirement):
            home.report(news)
        _stop(worker, stop, settings, logger)
    broker.close()
    if stop.orphaned():
        _tidy_up(home)
    return 0


def _load(settings: Settings, logger: OwnLogger) -> Broker:
    """Import the broker's module and all others."""
    name = settings.broker
    try:
        logger.debug("Loading the broker, '%s'.", name)
        _module, broker = import_broker(name)
        broker.emit_after("process_boot")
        for name in settings.modules:
            logger.debug("Loading module '%s'.", name)
            importlib.import_module(name)
    except Exception as error:
        code = 3 if isinstance(error, BrokerConnectionError) else 2
        raise _CannotStart(explain(error, name), code) from error
    return broker


def _spare_the_collector() -> None:
    """Keep what has been loaded out of the cyclic collector's sight, for it stays as long as the process.

    Under load the collector otherwise goes through all modules several times a second, 60 ms each time, in which no
    message runs: a fifth of a drain's processor time.
    """
    gc.collect()
    gc.freeze()


def _start(broker: Broker, settings: Settings) -> Worker:
    queues = None if settings.queues is None else set(settings.queues)
    worker = Worker(broker, queues=queues, worker_threads=settings.threads)
    try:
        worker.start()
    except BrokerConnectionError as error:
        raise _CannotStart(" ".join(str(error).split()), 3) from error
    except PgQueueError as error:
        raise _CannotStart(" ".join(str(error).split()), 2) from error
    except Exception as error:
        raise _CannotStart(f"The worker can't start:\n{shown(error)}", 1) from error
    return worker


def _add_retirement(broker: Broker, stop: StopRequest, settings: Settings) -> Retirement:
    retirement = Retirement(
        max_messages=settings.max_messages, max_memory_mb=settings.max_memory_mb, on_due=stop.wake
    )
    if settings.max_messages is not None or settings.max_memory_mb is not None:
        broker.add_middleware(retirement)
    return retirement


def _work(worker: Worker, stop: StopRequest, retirement: Retirement) -> None:
    """Return when the process is to stop, or when it has done enough and what it was running then has ended."""
    stop.wait(lambda: retirement.due)
    stop.wait(worker.wind_down, tick_s=WINDING_DOWN_S)


def _farewell(stop: StopRequest, retirement: Retirement) -> Dismissed | Retired | None:
    if stop.ordered:
        return Dismissed()
    return None if stop.requested else Retired(retirement.reason)


def _stop(worker: Worker, stop: StopRequest, settings: Settings, logger: OwnLogger) -> None:
    if stop.orphaned():
        logger.warning("The main process is gone.")
    if stop.ordered:
        logger.info("An operator has ordered this process to stop.")
    logger.info("Stopping worker process...")
    worker.stop(timeout=settings.shutdown_timeout_ms)
    logger.info("Worker process has stopped.")


def _tidy_up(home: Home) -> None:
    """Remove what the main process can't remove any more; the last worker finds the directory empty."""
    if home.board is not None:
        with suppress(OSError):
            home.board.unlink(missing_ok=True)
            crash_file(home.board).unlink(missing_ok=True)
            home.board.parent.rmdir()


def _fork_names(broker: Broker) -> tuple[str, ...]:
    functions = [function for middleware in broker.middleware for function in middleware.forks]
    return tuple(f"{function.__module__}:{function.__qualname__}" for function in functions)


def _fork_environment(broker: Broker) -> dict[str, str]:
    return {
        name: text for middleware in broker.middleware for name, text in middleware.fork_environment.items()
    }
