"""Log records as text for people, or as JSON, one object a line, for programs that collect logs."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from ..broker import Broker, MessageProxy
from ..common import visible_text
from ..message import Message
from ..middleware import CurrentMessage

__all__ = ["JSON", "LOG_FORMATS", "TEXT", "JSONFormatter", "TextFormatter", "know_current_message"]

#: What ``--log-format`` may be: Dramatiq's line, or an object a line.
TEXT, JSON = "text", "json"
LOG_FORMATS = (TEXT, JSON)

#: What every record has; anything else was given as ``extra``.
ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


#: Before what follows on the first line of a record.
INDENT = "  "

#: The first character of each line of the log, where it is that of a line of a traceback.
LOG_LINE = re.compile(r"^\[", re.MULTILINE)


class TextFormatter(logging.Formatter):
    """Makes lines of this package's records that nobody who sends messages can forge.

    Names of actors, arguments and errors in them are the senders'. Programs answer for their own records.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end, and what belongs to it."""
        text = super().format(record)
        if record.name != "pgqueue" and not record.name.startswith("pgqueue."):
            return text
        line = self.formatMessage(record)
        # A traceback is left as it is, but for lines of the error's own text that would pass for others of the log.
        traceback = LOG_LINE.sub(INDENT + "[", text[len(line) :])
        return visible_text(line.replace("\n", "\n" + INDENT) + traceback)


class JSONFormatter(logging.Formatter):
    """Makes one line of JSON of each record, whatever it holds.

    Always there: ``time`` (UTC, to the microsecond), ``level``, ``logger``, ``message``, ``pid``, ``thread``. Where a
    message is being processed, or is what the record is about: ``message_id``, ``actor_name``, ``queue_name``. With an
    exception: ``error``, its type, and ``traceback``. Then what the program gave as ``extra``, unless it is called
    like one of these.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        extra = {name: _plain(value) for name, value in vars(record).items() if name not in ORDINARY}
        return json.dumps({**extra, **self._event(record), **_ids(record)})

    def _event(self, record: logging.LogRecord) -> dict[str, Any]:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            "thread": record.threadName,
        }
        if record.exc_info and record.exc_info[0] is not None:
            event["error"] = record.exc_info[0].__qualname__
            event["traceback"] = record.exc_text or self.formatException(record.exc_info)
        if record.stack_info:
            event["stack"] = self.formatStack(record.stack_info)
        return event


def know_current_message(broker: Broker) -> None:
    """Have a broker remember what each thread processes, so that every record can name it."""
    if not any(isinstance(middleware, CurrentMessage) for middleware in broker.middleware):
        # The first one: its after-hook comes last, so what the others log in theirs has the message, too.
        broker.middleware.insert(0, CurrentMessage())


def _ids(record: logging.LogRecord) -> dict[str, str]:
    """Which message a record is about: one of its arguments, or the one that is being processed."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    named = (argument for argument in arguments if isinstance(argument, (Message, MessageProxy)))
    message = next(named, None) or CurrentMessage.get_current_message()
    if message is None:
        return {}
    return {
        "message_id": message.message_id,
        "actor_name": message.actor_name,
        "queue_name": message.queue_name,
    }


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; what it can't, as Python shows it."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value
