"""``pgqueue workers``: who works, since when, and on what."""

import argparse

from rich.text import Text

from ..operations import crew
from ..operations.crew import Crew
from ..operations.wording import span
from .output import Column, Output, add_output_arguments, clock
from .target import add_target_arguments, opened

__all__ = ["add_arguments", "crew_cells", "run"]

COLUMNS = (
    Column("worker", style="bold"),
    Column("threads", rank=3, right=True),
    Column("up", rank=4, right=True),
    Column("seen", right=True),
    Column("holds", rank=1, right=True),
    Column("queues", rank=5, flexible=True),
    Column("running for more than a second", rank=2, flexible=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", help="only those whose HOST:PID has this in it")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return 0 if a worker is alive (and, with a name, there is such a one), else 1."""
    output = Output(arguments)
    with opened(arguments) as database:
        found = [each for each in crew.list_crew(database) if (arguments.name or "") in each.name]
    if output.json:
        output.data({"workers": [{**_data(each)} for each in found]})
    elif not found:
        output.say(f"There is no worker {arguments.name}." if arguments.name else "There is no worker.")
    elif arguments.name:
        for each in found:
            _show(output, each)
    else:
        output.table(COLUMNS, [crew_cells(each) for each in found])
    return 0 if any(each.alive for each in found) else 1


def _data(each: Crew) -> dict[str, object]:
    return {
        "owner": str(each.owner), "host": each.host, "pid": each.pid, "threads": each.threads, "alive": each.alive,
        "started_at": each.started_at, "seen_at": each.seen_at, "silent_s": each.silent_s, "held": each.held,
        "queues": each.queues, "actors": each.actors, "running": each.running,
    }  # fmt: skip


def crew_cells(each: Crew) -> list[Text]:
    """A worker's row of the table."""
    running = [
        f"{run.actor_name} {span((each.seen_at - run.since).total_seconds() + each.silent_s)}"
        for run in each.running
    ]
    return [
        Text(each.name),
        Text(str(each.threads)),
        Text(span(each.up_s)),
        Text(f"{span(each.silent_s)} ago", style="" if each.alive else "bold red"),
        Text(f"{each.held:,}"),
        Text("?" if each.queues is None else ", ".join(each.queues)),
        Text(", ".join(running), style="" if running else "dim"),
    ]


def _show(output: Output, each: Crew) -> None:
    output.say(f"{each.name}, up for {span(each.up_s)}, seen {span(each.silent_s)} ago", style="bold")
    output.say(f"  threads  {each.threads}, holds {each.held:,}")
    output.say(f"  queues   {'not said' if each.queues is None else ', '.join(each.queues)}")
    output.say(f"  actors   {'not said' if each.actors is None else ', '.join(each.actors)}")
    for run in each.running:
        output.say(f"  running  {run.message_id}  {run.actor_name}, since {clock(run.since)}")
