"""Log records as JSON: what each line holds, and that a program of workers writes nothing else."""

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
from pgqueue.supervisor.log_format import JSONFormatter, know_current_message
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
