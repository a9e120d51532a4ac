"""What handlers and filters of a program's own do to logging must not touch messages."""

from __future__ import annotations

import io
import logging
import pickle
import sys
from collections.abc import Iterator

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker
from pgqueue.logging import own_logger
from pgqueue.middleware import Middleware
from pgqueue.worker import Worker

from ..brokers.contract.support import dead_letter_count, join
from ..conftest import WorkerFor


class Raising(logging.Handler):
    """Fails on every record, and does not catch it, as the standard library's own handlers would."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise RuntimeError(f"cannot log {record.msg!r}")


class Failing(Middleware):
    """Makes the broker log about each message's hooks, before and after."""

    def before_process_message(self, *_: object) -> None:
        raise RuntimeError("before")

    def after_process_message(self, *_: object, **__: object) -> None:
        raise RuntimeError("after")


@pytest.fixture
def raising_handler() -> Iterator[None]:
    """One for this package's loggers and those of this module's actors."""
    handler = Raising()
    for name in ("pgqueue", __name__):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield
    for name in ("pgqueue", __name__):
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.usefixtures("raising_handler")
def test_a_handler_that_raises_costs_neither_a_message_nor_a_thread(
    broker: Broker, worker_for: WorkerFor
) -> None:
    broker.add_middleware(Failing())
    ran = []

    @actor(max_retries=0)
    def work(number: int) -> None:
        ran.append(number)
        if number % 2:
            raise ValueError(number)

    worker: Worker = worker_for(broker, worker_threads=2)
    for number in range(8):
        work.send(number)
    join(broker)
    worker.join()
    assert sorted(ran) == list(range(8))
    assert dead_letter_count(broker) == 4
    assert all(thread.is_alive() for thread in worker.workers)


@pytest.mark.usefixtures("raising_handler")
def test_what_a_handler_raised_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    own_logger("pgqueue.test").error("look %s", "here")
    assert "the logger 'pgqueue.test' failed on 'look %s'" in shown.getvalue()
    assert "RuntimeError: cannot log 'look %s'" in shown.getvalue()


@pytest.mark.usefixtures("raising_handler")
def test_nothing_is_shown_where_nobody_can_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stderr in (None, closed):
        monkeypatch.setattr(sys, "stderr", stderr)
        own_logger("pgqueue.test").error("look here")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "exception", "critical"])
def test_a_line_names_the_place_that_wrote_it(caplog: pytest.LogCaptureFixture, level: str) -> None:
    caplog.set_level(logging.DEBUG)
    getattr(own_logger("pgqueue.test"), level)("look %s", "here")
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("pgqueue.test", "look here")
    assert (record.filename, record.funcName) == (
        "test_logging.py",
        "test_a_line_names_the_place_that_wrote_it",
    )


def test_it_is_the_logger_that_everybody_else_gets(broker: Broker) -> None:
    loggers = [broker.logger, *(each.logger for each in broker.middleware if hasattr(each, "logger"))]
    assert len(loggers) > 2
    for logger in loggers:
        assert isinstance(logger, logging.Logger)
        assert logging.getLogger(logger.name) is logger
        assert pickle.loads(pickle.dumps(logger)) is logger


class Verbose(logging.Logger):
    """A program's own class of loggers."""

    def trace(self, msg: str) -> None:
        self.log(5, msg)


class Closed(logging.Logger):
    """One that nobody may derive from."""

    def __init_subclass__(cls) -> None:
        raise TypeError("is closed")


@pytest.fixture
def logger_class(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make new loggers of the class that the test asks for."""
    before = logging.getLoggerClass()
    logging.setLoggerClass(request.param)
    yield
    logging.setLoggerClass(before)


@pytest.mark.usefixtures("logger_class")
@pytest.mark.parametrize("logger_class", [Verbose], indirect=True)
def test_a_class_of_the_programs_own_keeps_its_methods(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    logger = own_logger("pgqueue.test.verbose")
    assert isinstance(logger, Verbose)
    assert own_logger("pgqueue.test.verbose") is logger
    logger.addHandler(Raising())
    logger.trace("not lost")
    assert type(logger).__name__ == "OwnLogger"


@pytest.mark.usefixtures("logger_class", "raising_handler")
@pytest.mark.parametrize("logger_class", [Closed], indirect=True)
def test_a_class_that_can_not_be_extended_stays_and_is_shared_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = own_logger("pgqueue.test.closed")
    assert isinstance(logger, logging.Logger)
    logging.getLogger("pgqueue.test.closed").setLevel(logging.ERROR)
    assert logger.level == logging.ERROR
    logger.warning("not shown")
    logger.error("look here")
    assert "look here" in (shown := capsys.readouterr().err)
    assert "not shown" not in shown
