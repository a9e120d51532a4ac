"""Log records as text that senders can't forge, and as JSON: what a line holds; workers write nothing else."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pgqueue.broker import MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.message import Message
from pgqueue.middleware import CurrentMessage
from pgqueue.supervisor.log_format import JSONFormatter, TextFormatter, know_current_message
from pgqueue.supervisor.log_pipe import FORMAT
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, stop

APP = """
import logging

log = logging.getLogger("app")

@pgqueue.actor(max_retries=0)
def greet(name):
    log.info("Hello, %s", name, extra={"tenant": 7})
    raise ValueError("two\\nlines")

if os.environ.get("PGQUEUE_BOARD"):
    greet.send("W\\u00e4lti")
"""


@pytest.fixture
def project(tmp_path: Path, programs: list[Process]) -> Project:
    return Project(tmp_path, programs)


def event(text: str, *args: Any, **attributes: Any) -> dict[str, Any]:
    """The JSON of a record."""
    record = logging.LogRecord("app", logging.INFO, __file__, 1, text, args, attributes.pop("exc_info", None))
    vars(record).update(attributes)
    line = JSONFormatter().format(record)
    assert "\n" not in line
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def a_message(actor_name: str = "work") -> Message[Any]:
    return Message("mail", actor_name, (), {}, {})


FORGED = "\n[2099-01-01] [PID 1] [MainThread] [pgqueue.MainProcess] [CRITICAL] forged"


def lines(text: str, *args: Any, logger: str = "pgqueue.worker", **attributes: Any) -> list[str]:
    """The text of a record."""
    record = logging.LogRecord(
        logger, logging.ERROR, __file__, 1, text, args, attributes.pop("exc_info", None)
    )
    vars(record).update(attributes)
    formatted = TextFormatter(FORMAT).format(record)
    return formatted.split("\n")


@pytest.mark.parametrize("logger", ["pgqueue", "pgqueue.worker.Worker", "pgqueue.MainProcess"])
def test_a_message_can_not_pass_for_a_line_of_the_log(logger: str) -> None:
    first, second, *others = lines("Failed: %s", "work" + FORGED, logger=logger)
    assert first.endswith(f"[{logger}] [ERROR] Failed: work")
    assert second == f"  {FORGED[1:]}"
    assert not others


def test_a_terminal_is_given_no_orders() -> None:
    (line,) = lines("Failed: %s", "\x1b[31mred\r\x9b2J\x7f\u202eback\ttab")
    assert line.endswith("Failed: \u241b[31mred\u240d\ufffd2J\u2421\ufffdback\ttab")


def test_a_traceback_stays_readable_and_can_not_pass_for_a_line_of_the_log() -> None:
    try:
        raise ValueError("two\nlines\x1b[31m" + FORGED)
    except ValueError:
        first, *told = lines("no", exc_info=sys.exc_info(), stack_info="Stack:" + FORGED)
    assert first.endswith("[ERROR] no")
    assert told[0] == "Traceback (most recent call last):"
    assert told[1].startswith('  File "')
    assert [line for line in told if line.startswith("[")] == []
    assert told[-5:] == [
        "ValueError: two", "lines\u241b[31m", f"  {FORGED[1:]}", "Stack:", f"  {FORGED[1:]}",
    ]  # fmt: skip


def test_what_other_handlers_are_given_is_left_as_it_is() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        record = logging.LogRecord("pgqueue.worker", logging.ERROR, __file__, 1, FORGED, (), sys.exc_info())
    TextFormatter(FORMAT).format(record)
    assert record.getMessage() == FORGED
    assert record.exc_text is not None
    assert FORGED in record.exc_text


@pytest.mark.parametrize("logger", ["app", "root", "pgqueue_app.tasks"])
def test_a_programs_own_records_stay_as_they_are(logger: str) -> None:
    record = logging.LogRecord(logger, logging.INFO, __file__, 1, "\x1b[32mgreen\nline", (), None)
    assert TextFormatter(FORMAT).format(record) == logging.Formatter(FORMAT).format(record)


def test_a_record_has_time_level_logger_and_text() -> None:
    told = event("Hello, %s\nagain", "Ada")
    assert (told["level"], told["logger"], told["message"]) == ("INFO", "app", "Hello, Ada\nagain")
    assert set(told) == {"time", "level", "logger", "message", "pid", "thread"}
    assert datetime.fromisoformat(told["time"]).utcoffset() is not None


def test_a_record_about_a_message_names_it() -> None:
    message = a_message()
    for shown in (message, MessageProxy(message)):
        told = event("Failed: %s", shown)
        assert told["message_id"] == message.message_id
        assert (told["actor_name"], told["queue_name"]) == ("work", "mail")


def test_a_record_within_a_message_names_that_one(stub_broker: StubBroker) -> None:
    inner, about = MessageProxy(a_message()), a_message("other")
    current = CurrentMessage()
    current.before_process_message(stub_broker, inner)
    assert event("at work")["message_id"] == inner.message_id
    assert event("sent %s", about)["actor_name"] == "other"
    current.after_process_message(stub_broker, inner)
    assert "message_id" not in event("done")


def test_an_exception_is_a_part_of_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        told = event("no", exc_info=sys.exc_info())
    assert told["error"] == "ValueError"
    assert told["traceback"].startswith("Traceback")
    assert told["traceback"].endswith("ValueError: two\nlines")
    assert "error" not in event("no", exc_info=(None, None, None))


def test_what_json_can_not_hold_is_shown_and_ours_is_not_replaced() -> None:
    circle: list[Any] = []
    circle.append(circle)
    told = event(
        "x", tenant={"id": 7}, level="mine", path=Path("/a"), circle=circle, odd=float("nan"), odder="\ud800"
    )
    assert (told["tenant"], told["level"]) == ({"id": 7}, "INFO")
    assert (told["path"], told["circle"], told["odd"]) == (repr(Path("/a")), "[[...]]", "nan")
    assert told["odder"] == "\ud800"


def test_the_current_message_is_remembered_by_one_middleware(stub_broker: StubBroker) -> None:
    know_current_message(stub_broker)
    know_current_message(stub_broker)
    assert [type(m) for m in stub_broker.middleware].count(CurrentMessage) == 1
    assert isinstance(stub_broker.middleware[0], CurrentMessage)


@pytest.mark.slow
def test_senders_can_not_write_a_line_into_the_log_of_workers(project: Project) -> None:
    project.stub(APP.replace("two\\nlines", "two\\n[2099-01-01] [CRITICAL] forged\\x1b[31m"))
    program = project.start("app", "-p", "1", "-t", "1")
    eventually(lambda: program.wait_for("Retries exceeded"), within_s=15.0)
    assert stop(program) == 0
    forged = [line for line in program.output.splitlines() if "forged" in line]
    assert forged
    assert [line for line in forged if not line.startswith("  ")] == []
    assert "\x1b" not in program.output


@pytest.mark.slow
def test_a_program_of_workers_writes_an_object_a_line(project: Project) -> None:
    project.stub(APP)
    program = project.start("app", "-p", "1", "-t", "1", "--log-format", "json")
    eventually(lambda: program.wait_for("Retries exceeded"), within_s=15.0)
    assert stop(program) == 0
    events = [json.loads(line) for line in program.output.splitlines()]
    (hello,) = [told for told in events if told["logger"] == "app"]
    assert (hello["message"], hello["tenant"]) == ("Hello, W\u00e4lti", 7)
    assert (hello["actor_name"], hello["queue_name"]) == ("greet", "default")
    failures = [told for told in events if told["level"] in {"ERROR", "WARNING"}]
    assert {told["message_id"] for told in failures} == {hello["message_id"]}
    assert failures[0]["traceback"].endswith("ValueError: two\nlines")
    loggers = {told["logger"] for told in events}
    assert {"pgqueue.MainProcess", "pgqueue.WorkerProcess(0)"} <= loggers
    assert len({told["pid"] for told in events}) == 2


def test_a_format_for_logging_that_is_the_programs_is_refused(project: Project) -> None:
    project.stub()
    code, output = project.run("app", "--skip-logging", "--log-format", "json")
    assert code == 2
    assert "--skip-logging" in output
    assert "--log-format json" in output
