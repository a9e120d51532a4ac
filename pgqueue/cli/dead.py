"""``pgqueue dead``: what died of what; list, show, requeue and purge dead letters."""

import argparse
from collections.abc import Callable, Iterator

from rich.text import Text

from ..operations import acting
from ..storage import dead_letters
from ..storage.database import Database
from ..storage.dead_letters import DeadLetter, LetterFilter, LetterGroup
from ..storage.whereabouts import find_dead
from .message_view import payload_data, payload_text, show
from .output import Column, Output, add_output_arguments, clock, confirmed, counted
from .target import add_target_arguments, opened
from .worker import positive

__all__ = ["add_arguments", "run"]

ACTIONS = ("groups", "list", "show", "requeue", "purge")

GROUPS = (
    Column("count", right=True, style="bold"),
    Column("actor", style="bold"),
    Column("queue", rank=2),
    Column("reason", rank=3),
    Column("last", rank=1, right=True),
    Column("last error", flexible=True),
)

LETTERS = (
    Column("id"),
    Column("actor", rank=2, flexible=True),
    Column("queue", rank=5),
    Column("reason", rank=4),
    Column("died", rank=3),
    Column("error", rank=1, flexible=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        default="groups",
        help="groups by actor and error (default), list; show, requeue by id; requeue or purge all that match",
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="message ids, for show, requeue and purge")
    parser.add_argument("--queue", "-Q", metavar="NAME", help="only those of this queue")
    parser.add_argument("--actor", "-a", metavar="NAME", help="only those of this actor")
    parser.add_argument(
        "--reason", metavar="REASON", help="failed, 'too old', undecodable, poison, 'unknown actor' …"
    )
    parser.add_argument("--error", "-e", metavar="TEXT", help="only those whose error has this in it")
    parser.add_argument("--all", action="store_true", help="requeue or purge them all")
    parser.add_argument(
        "--limit", "-n", type=positive, default=50, metavar="N", help="letters in a list (default: 50)"
    )
    parser.add_argument("--yes", "-y", action="store_true", help="requeue or purge without asking")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return 0, or 1 if there was nothing to show or something could not be done."""
    output = Output(arguments)
    if problem := _problem(arguments):
        output.complain(problem)
        return 2
    which = _filter(arguments)
    with opened(arguments) as database:
        if arguments.action == "groups":
            return _groups(database, output, which)
        if arguments.action == "list":
            return _list(database, output, which, arguments.limit)
        if arguments.action == "show":
            shown = [show(database, output, id_) for id_ in arguments.ids]
            return 0 if all(shown) else 1
        if arguments.ids:
            return _each(database, output, arguments)
        return _all(database, output, which, arguments)


def _filter(arguments: argparse.Namespace) -> LetterFilter:
    return LetterFilter(arguments.queue, arguments.actor, arguments.reason, arguments.error)


def _problem(arguments: argparse.Namespace) -> str | None:
    action, filtered = arguments.action, any(_filter(arguments).parameters().values())
    if action in {"groups", "list"} and arguments.ids:
        return f"`pgqueue dead {action}` takes no ids. Did you mean `pgqueue dead show {arguments.ids[0]}`?"
    if action == "show" and not arguments.ids:
        return "Which one? pgqueue dead show ID …"
    if action in {"requeue", "purge"} and bool(arguments.ids) == (filtered or arguments.all):
        return f"{action.capitalize()} which ones? Pass ids, or one of --queue, --actor, --reason, --error, or --all."
    return None


# ── Looking ───────────────────────────────────────────────────────────────────────────────────────


def _groups(database: Database, output: Output, which: LetterFilter) -> int:
    with database.bounded() as conn:
        groups = dead_letters.group(conn, database.statements, which=which, most=acting.MOST_COUNTED)
    seen = sum(group.count for group in groups)
    if output.json:
        output.data({"groups": groups, "counted_up_to": acting.MOST_COUNTED})
    elif not groups:
        output.say("There is no dead letter." if which == LetterFilter() else "No dead letter matches.")
    else:
        output.table(GROUPS, [_group_cells(group) for group in groups])
        if seen >= acting.MOST_COUNTED:
            output.say(f"Only the youngest {acting.MOST_COUNTED:,} were counted.", style="dim")
    return 0 if groups else 1


def _group_cells(group: LetterGroup) -> list[Text]:
    return [
        Text(f"{group.count:,}"),
        Text(group.actor_name or "?"),
        Text(group.queue_name),
        Text(group.reason),
        Text(clock(group.last_at)),
        Text(" ".join((group.last_error or "").split())),
    ]


def _list(database: Database, output: Output, which: LetterFilter, limit: int) -> int:
    with database.bounded() as conn:
        letters = dead_letters.browse(
            conn, database.statements, which=which, limit=limit, most_bytes=None if output.json else 0
        )
    if output.json:
        output.data({"dead_letters": [_data(letter) for letter in letters]})
    elif not letters:
        output.say("There is no dead letter." if which == LetterFilter() else "No dead letter matches.")
    else:
        output.table(LETTERS, [_letter_cells(letter) for letter in letters])
    return 0 if letters else 1


def _letter_cells(letter: DeadLetter) -> list[Text]:
    return [
        Text(letter.name),
        Text(letter.actor_name or "?"),
        Text(letter.queue_name),
        Text(letter.reason),
        Text(clock(letter.died_at)),
        Text(" ".join((letter.error or "").split())),
    ]


def _data(letter: DeadLetter) -> dict[str, object]:
    return {
        "message_id": letter.name, "queue": letter.queue_name, "priority": letter.priority,
        "actor": letter.actor_name, "died_at": letter.died_at, "enqueued_at": letter.enqueued_at,
        "attempts": letter.attempts, "reason": letter.reason, "error": letter.error, "traceback": letter.traceback,
        "message": payload_data(letter.payload),
    }  # fmt: skip


# ── Acting ────────────────────────────────────────────────────────────────────────────────────────


def _each(database: Database, output: Output, arguments: argparse.Namespace) -> int:
    results = []
    for id_ in arguments.ids:
        with database.bounded() as conn:
            letters = find_dead(conn, database.statements, message_id=id_)
        if arguments.action == "requeue":
            well = bool(letters) and acting.requeue(database, letters[:1]) > 0
            said = "requeued"
        else:
            well = bool(letters) and acting.drop(database, letters) > 0
            said = "purged"
        if not well:
            said = f"no dead letter: it is {acting.what_is(database, id_)}"
        results.append({"message_id": id_, "result": said, "ok": well})
        output.say(Text.assemble(f"{id_}: ", (said, "" if well else "yellow")))
    if output.json:
        output.data({"results": results})
    return 0 if all(result["ok"] for result in results) else 1


def _all(database: Database, output: Output, which: LetterFilter, arguments: argparse.Namespace) -> int:
    act, verb, participle = _ACTS[arguments.action]
    number, complete = acting.count_letters(database, which)
    done = 0
    if not number:
        output.say("No dead letter matches.")
    else:
        _preview(database, output, which, number)
        question = f"{counted(number, complete=complete)} dead letters would be {participle}."
        if confirmed(output, question, yes=arguments.yes):
            done = output.progress(act(database, which), verb, number)
            output.say(f"{done:,} dead letters {participle}.")
    if output.json:
        output.data({"matched": number, "complete": complete, participle: done})
    return 0 if done else 1


def _preview(database: Database, output: Output, which: LetterFilter, number: int) -> None:
    if output.json:
        return
    with database.bounded() as conn:
        letters = dead_letters.browse(conn, database.statements, which=which, limit=5)
    for letter in letters:
        output.say(f"  {payload_text(letter.payload)}  {' '.join((letter.error or '').split())}"[:300])
    if number > len(letters):
        output.say("  …")


_ACTS: dict[str, tuple[Callable[[Database, LetterFilter], Iterator[int]], str, str]] = {
    "requeue": (acting.requeue_all, "Requeueing", "requeued"),
    "purge": (acting.purge_letters, "Purging", "purged"),
}
