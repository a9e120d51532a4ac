"""``pgqueue queues``: how deep and how old the queues are; pause, resume and limit them, and pause actors."""

import argparse
from collections.abc import Callable

from rich.text import Text

from ..common import q_name
from ..operations import limiting, overview, pausing
from ..operations.overview import MOST_COUNTED, QueueState
from ..operations.wording import span
from ..storage.database import Database
from ..storage.pauses import Kind
from .output import Column, Output, add_output_arguments
from .target import add_target_arguments, opened

__all__ = ["add_arguments", "queue_table", "run"]

COLUMNS = (
    Column("queue", style="bold"),
    Column("ready", right=True),
    Column("running", right=True),
    Column("scheduled", rank=3, right=True),
    Column("dead", rank=2, right=True),
    Column("oldest", rank=4, right=True),
    Column("workers", rank=5, right=True),
    Column("state", rank=1),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=["list", "pause", "resume", "limit"],
        default="list",
        help="default: list",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="queues (or actors) to pause or to resume; limit takes a queue and N, or none",
    )
    parser.add_argument("--actor", "-a", action="store_true", help="the names are those of actors")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    output = Output(arguments)
    if arguments.action == "list":
        with opened(arguments) as database:
            return _list(database, output, arguments.names)
    if arguments.action == "limit":
        return _limit(arguments, output)
    if not arguments.names:
        output.complain(f"Which one? pgqueue queues {arguments.action} NAME …")
        return 2
    kind: Kind = "actor" if arguments.actor else "queue"
    act, done, already = {
        "pause": (pausing.pause, "paused", "was paused already"),
        "resume": (pausing.resume, "resumed", "was not paused"),
    }[arguments.action]
    with opened(arguments) as database:
        return _steer(database, output, arguments.names, kind, (act, done, already))


def _limit(arguments: argparse.Namespace, output: Output) -> int:
    if len(arguments.names) != 2 or arguments.actor:
        output.complain(
            "Expected a queue and how many of its messages may run at once: pgqueue queues limit NAME N|none"
        )
        return 2
    name, number = q_name(arguments.names[0]), arguments.names[1]
    try:
        at_once = None if number.lower() == "none" else limiting.checked_limit(_whole(number))
    except ValueError as error:
        output.complain(str(error))
        return 2
    with opened(arguments) as database:
        changed = limiting.limit(database, name, at_once)
        known = name in overview.known_queues(database)
    said = "has no limit" if at_once is None else f"runs at most {at_once:,} at once"
    output.say(f"Queue {name} {said} {'now' if changed else 'already'}.")
    if not known:
        output.say(f"No message was ever sent to a queue {name}.", style="yellow")
    if output.json:
        output.data({"queue": name, "limit": at_once, "changed": changed, "known": known})
    return 0


def _whole(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text


def _steer(
    database: Database,
    output: Output,
    names: list[str],
    kind: Kind,
    how: tuple[Callable[[Database, Kind, str], bool], str, str],
) -> int:
    act, done, already = how
    results = {}
    for name in names if kind == "actor" else map(q_name, names):
        changed = act(database, kind, name)
        results[name] = done if changed else already
        output.say(f"{kind.capitalize()} {name} {'is ' + done if changed else already}.")
        if kind == "queue" and name not in overview.known_queues(database):
            output.say(f"No message was ever sent to a queue {name}.", style="yellow")
    if output.json:
        output.data({"kind": kind, "results": results})
    return 0


def _list(database: Database, output: Output, names: list[str]) -> int:
    state = overview.look(database)
    shown = [queue for queue in state.queues if not names or queue.name in names]
    if output.json:
        output.data({"queues": shown, "paused_actors": state.paused_actors, "counted_up_to": MOST_COUNTED})
    elif not shown:
        output.say(f"There is no queue {' or '.join(names)}." if names else "There is no queue yet.")
    else:
        queue_table(output, shown)
        if state.paused_actors:
            output.say(f"Paused actors: {', '.join(state.paused_actors)}.", style="yellow")
    return 1 if names and not shown else 0


def queue_table(output: Output, queues: list[QueueState]) -> None:
    """Print the table of queues."""
    output.table(COLUMNS, [queue_cells(queue) for queue in queues])


def queue_cells(queue: QueueState) -> list[Text]:
    """A queue's row of the table."""
    ready = queue.ready + queue.parked
    unserved = bool(ready) and not queue.workers and not queue.paused
    limit = "" if queue.limit is None else f"at most {queue.limit:,}"
    state = "paused" if queue.paused else "no worker" if unserved else ""
    return [
        Text(queue.name),
        _number(ready),
        _number(queue.running),
        _number(queue.scheduled),
        _number(queue.dead, style="red"),
        Text("" if queue.oldest_s is None else span(queue.oldest_s)),
        _number(queue.workers, style="red" if unserved else ""),
        Text(", ".join(filter(None, (state, limit))), style="red" if unserved else "yellow"),
    ]


def _number(number: int, *, style: str = "") -> Text:
    more = "+" if number >= MOST_COUNTED else ""
    return Text(f"{number:,}{more}", style=style if number or (style == "red" and not number) else "dim")
