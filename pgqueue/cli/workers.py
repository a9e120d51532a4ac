"""``pgqueue workers``: who works, since when, and on what; quiet them and stop them."""

import argparse
from collections.abc import Sequence
from typing import cast

from rich.text import Text

from ..operations import crew, ordering
from ..operations.crew import Crew
from ..operations.wording import size, span
from ..storage.database import Database
from .output import Column, Output, add_output_arguments, clock
from .target import add_target_arguments, opened

__all__ = ["add_arguments", "crew_cells", "run"]

COLUMNS = (
    Column("worker", style="bold"),
    Column("id", rank=1),
    Column("state"),
    Column("threads", rank=4, right=True),
    Column("memory", rank=3, right=True),
    Column("up", rank=6, right=True),
    Column("seen", rank=5, right=True),
    Column("holds", rank=2, right=True),
    Column("queues", rank=8, flexible=True),
    Column("running for more than a second", rank=7, flexible=True),
)

#: How long a command waits for workers to obey, in seconds.
OBEY_S = 3.0

VERBS = ("quiet", "work", "stop")

_STYLES = {"working": "", "silent": "bold red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="ACTION ID",
        help="nothing, or a part of HOST:PID, to look; quiet, work or stop with the beginnings of ids, or HOST:PID",
    )
    parser.add_argument("--all", action="store_true", help="quiet, work or stop all of them")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code.

    To look: 0 if a worker is alive (and, with a name, there is such a one), else 1. To order: 0 if all workers
    that were meant have the order, else 1.
    """
    output = Output(arguments)
    action, *words = arguments.words or ["list"]
    if action not in {"list", *VERBS}:
        action, words = "list", arguments.words
    if problem := _problem(action, words, everybody=arguments.all):
        output.complain(problem)
        return 2
    with opened(arguments) as database:
        if action == "list":
            return _list(database, output, words[0] if words else "")
        return _order(database, output, cast("ordering.Verb", action), words, everybody=arguments.all)


def _problem(action: str, words: Sequence[str], *, everybody: bool) -> str | None:
    if action == "list":
        if everybody:
            return "--all goes with quiet, work or stop: pgqueue workers quiet --all"
        return None if len(words) < 2 else f"Expected quiet, work or stop before ids, not {words[0]!r}."
    if everybody == bool(words):
        return f"Which ones? pgqueue workers {action} ID … or pgqueue workers {action} --all"
    return None


# ── Looking ───────────────────────────────────────────────────────────────────────────────────────


def _list(database: Database, output: Output, name: str) -> int:
    found = [each for each in crew.list_crew(database) if name in each.name or each.id.startswith(name)]
    if output.json:
        output.data({"workers": [{**_data(each)} for each in found]})
    elif not found:
        output.say(f"There is no worker {name}." if name else "There is no worker.")
    elif name:
        for each in found:
            _show(output, each)
    else:
        output.table(COLUMNS, [crew_cells(each) for each in found])
    return 0 if any(each.alive for each in found) else 1


def _data(each: Crew) -> dict[str, object]:
    return {
        "id": each.id, "owner": str(each.owner), "host": each.host, "pid": each.pid, "threads": each.threads,
        "alive": each.alive, "state": each.state, "ordered": each.ordered, "memory_bytes": each.memory_bytes,
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
        Text(each.short_id, style="dim"),
        Text(each.condition, style=_STYLES.get(each.condition, "yellow")),
        Text(str(each.threads)),
        Text("?" if each.memory_bytes is None else size(each.memory_bytes)),
        Text(span(each.up_s)),
        Text(f"{span(each.silent_s)} ago", style="" if each.alive else "bold red"),
        Text(f"{each.held:,}"),
        Text("?" if each.queues is None else ", ".join(each.queues)),
        Text(", ".join(running), style="" if running else "dim"),
    ]


def _show(output: Output, each: Crew) -> None:
    output.say(f"{each.name}, up for {span(each.up_s)}, seen {span(each.silent_s)} ago", style="bold")
    output.say(f"  id       {each.id}")
    output.say(f"  state    {each.condition}")
    output.say(f"  memory   {'not said' if each.memory_bytes is None else size(each.memory_bytes)}")
    output.say(f"  threads  {each.threads}, holds {each.held:,}")
    output.say(f"  queues   {'not said' if each.queues is None else ', '.join(each.queues)}")
    output.say(f"  actors   {'not said' if each.actors is None else ', '.join(each.actors)}")
    for run in each.running:
        output.say(f"  running  {run.message_id}  {run.actor_name}, since {clock(run.since)}")


# ── Ordering ──────────────────────────────────────────────────────────────────────────────────────


def _order(
    database: Database, output: Output, verb: ordering.Verb, words: Sequence[str], *, everybody: bool
) -> int:
    present = ordering.distinct(crew.list_crew(database))
    chosen = [ordering.Chosen(present)] if everybody else [ordering.choose(present, word) for word in words]
    problems = [each.problem for each in chosen if each.problem]
    if everybody and not present:
        problems.append("There is no worker.")
    for problem in problems:
        output.say(problem, style="yellow")
    meant = ordering.distinct(worker for choice in chosen for worker in choice.workers)
    outcomes = {each.id: ordering.order(database, verb, each.process) for each in meant}
    ordered = [id_ for id_, outcome in outcomes.items() if outcome == "ordered"]
    obeyed = ordering.obeyed(database, ordered, within_s=OBEY_S)
    results = [
        {
            "id": each.id, "name": each.name, "outcome": outcomes[each.id],
            "result": ordering.told(verb, outcomes[each.id]), "obeys": each.id in obeyed,
        }
        for each in meant
    ]  # fmt: skip
    for result in results:
        waiting = "" if result["obeys"] or result["outcome"] != "ordered" else "; it has not answered yet"
        output.say(f"{result['name']} ({str(result['id'])[:8]}) {result['result']}{waiting}.")
    if output.json:
        output.data({"verb": verb, "results": results, "problems": problems})
    return 0 if not problems and all(map(ordering.went_well, outcomes.values())) else 1
