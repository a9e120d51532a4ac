"""``pgqueue messages``: list and show messages; retry, cancel, delete, requeue and purge them."""

import argparse

from rich.text import Text

from ..operations import acting
from ..operations.answering import ACTS, Act
from ..operations.listing import LIVE, MOST_LOOKED_AT, MOST_SEARCHED, STATES, MessageFilter, list_messages
from ..storage.database import Database
from .message_view import message_table, show
from .output import Output, add_output_arguments, confirmed, counted
from .target import add_target_arguments, opened
from .worker import positive

__all__ = ["add_arguments", "run"]

ACTIONS = ("list", "show", "retry", "cancel", "delete", "requeue", "purge")

#: What `purge` can take: messages that wait. Workers have the others, or they are over.
PURGED = ("queued", "parked", "scheduled")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        default="list",
        help="list (default); show, retry (now), cancel, delete, requeue (from the dead letters) by id; "
        "purge all that match",
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="message ids, for all but list and purge")
    parser.add_argument(
        "--state", "-s", action="append", choices=STATES, help=f"may be repeated (default: {', '.join(LIVE)})"
    )
    parser.add_argument("--queue", "-Q", metavar="NAME", help="only messages of this queue")
    parser.add_argument("--actor", "-a", metavar="NAME", help="only messages of this actor")
    parser.add_argument(
        "--search", metavar="TEXT", help="only messages sent with this text in them, or whose error has it"
    )
    parser.add_argument(
        "--limit", "-n", type=positive, default=50, metavar="N", help="messages on a page (default: 50)"
    )
    parser.add_argument("--after", metavar="CURSOR", help="the page after the one that gave this cursor")
    parser.add_argument("--yes", "-y", action="store_true", help="purge without asking")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return 0, or 1 if there was nothing to show or something could not be done."""
    output = Output(arguments)
    if problem := _problem(arguments):
        output.complain(problem)
        return 2
    with opened(arguments) as database:
        if arguments.action == "list":
            return _list(database, output, arguments)
        if arguments.action == "purge":
            return _purge(database, output, arguments)
        if arguments.action == "show":
            shown = [show(database, output, id_) for id_ in arguments.ids]
            return 0 if all(shown) else 1
        return _act(database, output, arguments.ids, ACTS[arguments.action])


def _problem(arguments: argparse.Namespace) -> str | None:
    action = arguments.action
    if action in {"list", "purge"}:
        if arguments.ids:
            return f"`pgqueue messages {action}` takes no ids: it is about all messages that match."
    elif not arguments.ids:
        return f"Which one? pgqueue messages {action} ID …"
    if action == "purge":
        if wrong := sorted(set(arguments.state or ()) - set(PURGED)):
            return f"Messages that are {' or '.join(wrong)} can't be purged, only {', '.join(PURGED)} ones."
        if not (arguments.queue or arguments.actor or arguments.state or arguments.search):
            return "Purge what? Pass --queue, --actor, --state or --search."
    return None


def _filter(arguments: argparse.Namespace, default: tuple[str, ...]) -> MessageFilter:
    chosen = set(arguments.state or default)
    states = tuple(state for state in STATES if state in chosen)
    return MessageFilter(
        states, queue_name=arguments.queue, actor_name=arguments.actor, search=arguments.search
    )


def _list(database: Database, output: Output, arguments: argparse.Namespace) -> int:
    which = _filter(arguments, LIVE)
    page = list_messages(database, which, limit=arguments.limit, cursor=arguments.after)
    if output.json:
        output.data({"messages": page.messages, "cursor": page.cursor, "capped": page.capped})
    elif page.messages:
        message_table(output, page.messages)
    elif page.cursor is None:
        output.say("No message matches.")
    else:
        output.say("Nothing found so far.")
    if page.capped:
        most = MOST_SEARCHED if which.search else MOST_LOOKED_AT
        output.say(f"Not all messages were looked at: {most:,} at most at a time.", style="dim")
    if page.cursor is not None:
        output.say(Text.assemble("More: ", (f"--after {page.cursor}", "bold")))
    return 0 if page.messages or page.cursor else 1


def _purge(database: Database, output: Output, arguments: argparse.Namespace) -> int:
    which = _filter(arguments, PURGED)
    number, complete = acting.count_messages(database, which)
    if not number:
        output.say("No message matches.")
        if output.json:
            output.data({"matched": 0, "deleted": 0})
        return 1
    sample = list_messages(database, which, limit=5).messages
    if not output.json:
        message_table(output, sample)
        if number > len(sample):
            output.say("…")
    question = f"{counted(number, complete=complete)} messages would be deleted."
    if not confirmed(output, question, yes=arguments.yes):
        if output.json:
            output.data({"matched": number, "complete": complete, "deleted": 0})
        return 1
    deleted = output.progress(acting.remove_all(database, which, record=False), "Deleting", number)
    output.say(f"{deleted:,} messages deleted.")
    if output.json:
        output.data({"matched": number, "complete": complete, "deleted": deleted})
    return 0


def _act(database: Database, output: Output, ids: list[str], act: Act) -> int:
    results = []
    for id_ in ids:
        said, well = act(database, id_)
        results.append({"message_id": id_, "result": said, "ok": well})
        output.say(Text.assemble(f"{id_}: ", (said, "" if well else "yellow")))
    if output.json:
        output.data({"results": results})
    return 0 if all(result["ok"] for result in results) else 1
