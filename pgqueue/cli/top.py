"""``pgqueue top``: queues and workers, drawn anew every second or so."""

import argparse
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..errors import BrokerConnectionError
from ..operations import overview
from ..operations.overview import Overview
from ..operations.wording import more
from ..storage import registers
from ..storage.database import Database
from .output import Output, add_output_arguments, fitted, visible
from .queues import COLUMNS as QUEUES, queue_cells
from .target import add_target_arguments, opened
from .workers import COLUMNS as WORKERS, crew_cells

__all__ = ["add_arguments", "run"]


@dataclass(frozen=True, slots=True)
class Glance:
    """What was seen at one moment; ``head`` is the number of the last message that became ready."""

    at: float
    overview: Overview
    head: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--interval",
        "-i",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="seconds between two looks (default: 1)",
    )
    parser.add_argument("--count", "-n", type=int, metavar="N", help="end after so many looks")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw until Ctrl-C, or so many times; into a pipe, one frame below the other."""
    output = Output(arguments)
    with opened(arguments) as database, suppress(KeyboardInterrupt):
        if output.lively:
            _draw(database, output, arguments)
        else:
            _print(database, output, arguments)
    return 0


def _draw(database: Database, output: Output, arguments: argparse.Namespace) -> None:
    before: Glance | None = None
    left = arguments.count or math.inf
    with Live(console=output.console, screen=arguments.count is None, auto_refresh=False) as live:
        while left > 0:
            try:
                present = _glance(database)
            except BrokerConnectionError as error:
                live.update(visible(Text(" ".join(str(error).split()), style="bold red")), refresh=True)
            else:
                live.update(_frame(output, before, present), refresh=True)
                before = present
            left -= 1
            if left > 0:
                time.sleep(arguments.interval)


def _print(database: Database, output: Output, arguments: argparse.Namespace) -> None:
    before: Glance | None = None
    left = arguments.count or math.inf
    while left > 0:
        present = _glance(database)
        if output.json:
            output.data({"queues": present.overview.queues, "rate": _rate(before, present),
                         "workers": [each.name for each in present.overview.crew if each.alive]})  # fmt: skip
        else:
            output.say(_headline(before, present))
            output.table(QUEUES, [queue_cells(queue) for queue in present.overview.queues])
        before = present
        left -= 1
        if left > 0:
            time.sleep(arguments.interval)


def _glance(database: Database) -> Glance:
    seen = overview.look(database)
    with database.bounded() as conn:
        _, cells = registers.read(conn, database.statements)
    return Glance(time.monotonic(), seen, cells.head)


def _rate(before: Glance | None, present: Glance) -> float | None:
    """Messages that became ready a second, retries and the like included."""
    if before is None or present.at <= before.at:
        return None
    return max(0, present.head - before.head) / (present.at - before.at)


def _headline(before: Glance | None, present: Glance) -> str:
    alive = [each for each in present.overview.crew if each.alive]
    rate = _rate(before, present)
    coming = "" if rate is None else f", {rate:,.0f} messages a second come in"
    threads = sum(each.threads for each in alive)
    return f"{time.strftime('%H:%M:%S')}  {more(len(alive), 'worker')} with {more(threads, 'thread')}{coming}"


def _frame(output: Output, before: Glance | None, present: Glance) -> Group:
    width, height = output.console.size
    rows = max(1, (height - 6) // 2)
    queues, crew = present.overview.queues, present.overview.crew
    queue_table, _ = fitted(
        QUEUES, _visible(queue_cells(queue) for queue in _busiest(present.overview)[:rows]), width
    )
    parts: list[object] = [
        Text(_headline(before, present), style="bold", no_wrap=True, overflow="ellipsis"),
        queue_table,
    ]
    if len(queues) > rows:
        parts.append(Text(f"… and {len(queues) - rows} more", style="dim"))
    if crew:
        busiest = sorted(crew, key=lambda each: (-len(each.running), -each.held))
        worker_table, _ = fitted(WORKERS, _visible(crew_cells(each) for each in busiest[:rows]), width)
        parts += [Text(), worker_table]
        if len(crew) > rows:
            parts.append(Text(f"… and {len(crew) - rows} more", style="dim"))
    if present.overview.paused_actors:
        paused = Text(f"Paused actors: {', '.join(present.overview.paused_actors)}", style="yellow")
        parts.append(visible(paused))
    return Group(*parts)  # type: ignore[arg-type]  # all of them can be drawn


def _visible(rows: Iterable[Sequence[Text]]) -> list[list[Text]]:
    return [[visible(cell) for cell in row] for row in rows]


def _busiest(seen: Overview) -> list[overview.QueueState]:
    return sorted(seen.queues, key=lambda queue: (-(queue.ready + queue.parked + queue.running), queue.name))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds from 0.1 to 3600.")
    return seconds
