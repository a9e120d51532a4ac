"""``pgqueue queues``: how deep and how old the queues are; pause and resume them, and actors."""

import argparse
from collections.abc import Callable

from rich.text import Text

from ..common import q_name
from ..operations import overview, pausing
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
        "action", nargs="?", choices=["list", "pause", "resume"], default="list", help="default: list"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="queues (or actors) to pause or to resume")
    parser.add_argument("--actor", "-a", action="store_true", help="the names are those of actors")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    output = Output(arguments)
    if arguments.action == "list":
        with opened(arguments) as database:
            return _list(database, output, arguments.names)
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
    state = "paused" if queue.paused else "no worker" if unserved else ""
    return [
        Text(queue.name),
        _number(ready),
        _number(queue.running),
        _number(queue.scheduled),
        _number(queue.dead, style="red"),
        Text("" if queue.oldest_s is None else span(queue.oldest_s)),
        _number(queue.workers, style="red" if unserved else ""),
        Text(state, style="yellow" if queue.paused else "red"),
    ]


def _number(number: int, *, style: str = "") -> Text:
    more = "+" if number >= MOST_COUNTED else ""
    return Text(f"{number:,}{more}", style=style if number or (style == "red" and not number) else "dim")
