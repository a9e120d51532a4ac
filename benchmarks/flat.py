"""What stays the same however much was consumed, waits, or is held open: claims, throughput, space."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from uuid import UUID, uuid4

import psycopg

from pgqueue.engine import acker, fetcher
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage import lanes, messages, registers, slots, workers as names
from pgqueue.storage.database import Connection, Database
from pgqueue.storage.messages import ClaimedMessage, NewMessage, Verdict
from pgqueue.storage.positions import Positions

from . import floor
from .app import make_broker
from .drain import SEND
from .figures import Figure, Line, Plot, Report, Target, at_most, interleaved
from .server import Bench, fresh_schema
from .workers import Workers, wait_until_done

__all__ = ["measure", "through"]

CLAIM = 100

#: What a dump does: its locks keep slots from being emptied.
HOLD_READER = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "SELECT count(*) FROM {schema}.messages, {schema}.ready",
)

#: What an application does that forgets to commit: dead rows can't be cleaned away.
HOLD_WRITER = ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT pg_current_xact_id()")


def measure(bench: Bench) -> Report:
    """Claims under held snapshots, throughput under one, and a large backlog."""
    report = Report()
    _claims(bench, report)
    _throughput(bench, report)
    _backlog(bench, report)
    return report


class Consumer:
    """Sends, claims and settles by the engine's own statements, so that each claim's cost can be seen."""

    def __init__(self, url: str, schema: str) -> None:
        self.database = Database(url, schema=schema)
        self.statements = self.database.statements
        self.conn = self.database.connect(application_name="pgqueue bench", settings=fetcher.SETTINGS)
        self.acks = self.database.connect(application_name="pgqueue bench", settings=acker.SETTINGS)
        lanes.add_lanes(self.conn, self.statements, lanes=[("default", 0)])
        self.lane = lanes.list_lanes(self.conn, self.statements)[0]
        self.rotator, self.positions = Rotator(self.statements), Positions()
        self.owner: UUID = uuid4()
        names.register(self.acks, self.statements, owner=self.owner, host="here", pid=1, threads=8)

    def send(self, number: int) -> None:
        """Send in one statement."""
        new = [
            NewMessage(self.lane.id, "default", str(uuid4()), "nothing", floor.payload())
            for _ in range(number)
        ]
        messages.enqueue(
            self.acks,
            self.statements,
            messages=new,
            channel=registers.channel(self.database.schema),
            registers=[],
        )

    def claim(self) -> list[ClaimedMessage]:
        """Claim a hundred."""
        ring = [s.slot for s in slots.list_slots(self.conn, self.statements) if s.state != "free"]
        spans = self.positions.plan([self.lane.id], ring)
        claim = messages.claim(
            self.conn, self.statements, slots=ring, spans=spans, owner=self.owner, limit=CLAIM
        )
        full = len(claim.messages) >= CLAIM
        self.positions.advance(spans, claim.snapshot, stopped_at=claim.last if full else None)
        return claim.messages

    def settle(self, claimed: list[ClaimedMessage]) -> None:
        """Acknowledge."""
        messages.settle(
            self.acks,
            self.statements,
            owner=self.owner,
            verdicts=[Verdict(message, str(uuid4()), "nothing") for message in claimed],
            closes=[True] * len(claimed),
            slots=sorted({message.lease.slot for message in claimed}),
            channel=registers.channel(self.database.schema),
            registers=[],
        )

    def consume(self, number: int) -> None:
        """Send so many and see them through."""
        self.send(number)
        self.rotator.run_once(self.acks)
        for _ in range(number // CLAIM):
            self.settle(self.claim())

    def claim_buffers(self) -> float:
        """Buffers that a claim touches, a message; the claim counts as any other."""
        self.send(CLAIM)
        _buffers(self.acks)  # its own are told now, not in between
        before = _buffers(self.conn)
        claimed = self.claim()
        touched = _buffers(self.conn) - before
        self.settle(claimed)
        return touched / CLAIM

    def close(self) -> None:
        """Close the connections."""
        self.conn.close()
        self.acks.close()
        self.database.close()


def _buffers(conn: Connection) -> int:
    """What this connection has touched so far; the question itself touches next to nothing, and the same each time."""
    conn.execute("SELECT pg_stat_force_next_flush()")
    row = conn.execute(
        "SELECT coalesce(sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read), 0)::bigint"
        " FROM pg_statio_user_tables WHERE relname ~ '^(ready|messages|leases)_'"
    ).fetchone()
    return int(row[0]) if row else 0


def _claims(bench: Bench, report: Report) -> None:
    total = bench.large(100_000, 1_000_000, least=2_000)
    lines = []
    for name, suffix, hold in (
        ("nothing held", None, ()),
        ("idle writer with a transaction id", "", HOLD_WRITER),
        ("a dump that has read the tables", ".reader", HOLD_READER),
    ):
        points, size = _consume(bench, total, hold)
        lines.append(Line(name, points))
        if suffix is not None:
            report.figures.extend(_claim_figures(f"{total:,}", name, suffix, points, size))
    report.plots.append(
        Plot("Claim buffers under held snapshots", "messages consumed", "buffers a message", lines)
    )


def _claim_figures(
    total: str, held: str, suffix: str, points: list[tuple[float, float]], size: int
) -> list[Figure]:
    first, last = _ends(points)
    payloads = points[-1][0] * len(floor.payload())
    return [
        Figure(
            f"flat.buffers{suffix}",
            f"claim buffers a message after {total} consumed; held: {held}",
            last,
            "buffers",
            first,
            "at the start",
            Target(1.3, 1.1, more_is_better=False),
        ),
        Figure(
            f"flat.size{suffix}",
            f"database growth by {total} messages; held: {held}",
            size / 1e6,
            "MB",
            payloads / 1e6,
            "bytes of their payloads alone",
            at_most(200.0, 50.0) if not suffix else Target(),  # what a dump may still read has to stay
        ),
    ]


def _ends(points: list[tuple[float, float]]) -> tuple[float, float]:
    some = max(2, len(points) // 5)
    values = [buffers for _, buffers in points]
    return statistics.median(values[:some]), statistics.median(values[-some:])


def _consume(bench: Bench, total: int, hold: tuple[str, ...]) -> tuple[list[tuple[float, float]], int]:
    """Buffers a message on the way, and by how many bytes the ring has grown without its outcomes."""
    with fresh_schema(bench.url) as schema, psycopg.connect(bench.url, autocommit=True) as holder:
        for statement in hold:
            holder.execute(statement.format(schema=schema))
        consumer = Consumer(bench.url, schema)
        before = _ring_bytes(consumer)
        points = []
        for done in range(0, total, max(CLAIM, total // 20)):
            points.append((float(done), consumer.claim_buffers()))
            consumer.consume(max(CLAIM, total // 20) // CLAIM * CLAIM)
        points.append((float(total), consumer.claim_buffers()))
        grown = _ring_bytes(consumer) - before
        consumer.close()
        holder.execute("ROLLBACK")
    return points, grown


def _ring_bytes(consumer: Consumer) -> int:
    row = consumer.conn.execute(
        "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relnamespace = %s::regnamespace"
        " AND relkind = 'r' AND relname !~ '^outcomes'",
        (consumer.database.schema,),
    ).fetchone()
    return int(row[0]) if row else 0


def _throughput(bench: Bench, report: Report) -> None:
    total = bench.large(40_000, 1_000_000, least=1_000)
    rounds = 1 if bench.full else bench.rounds

    def rate(hold: tuple[str, ...]) -> Callable[[], float]:
        return lambda: through(bench, total, hold)

    for suffix, hold, held_by in (
        ("", HOLD_WRITER, "a held snapshot"),
        (".reader", HOLD_READER, "a dump that has read the tables"),
    ):
        held, free, ratio = interleaved(rounds, rate(hold), rate(()))
        report.figures.append(
            Figure(
                f"flat.throughput{suffix}",
                f"sent and run at once, {total:,} messages under {held_by}",
                held,
                "1/s",
                free,
                "the same without",
                Target(0.9, 1.0),
                ratio,
            )
        )


def through(bench: Bench, total: int, hold: tuple[str, ...] = ()) -> float:
    """Messages a second that are sent and run at once."""
    with (
        fresh_schema(bench.url) as schema,
        psycopg.connect(bench.url, autocommit=True) as holder,
        psycopg.connect(bench.url, autocommit=True) as conn,
        Workers(bench.url, schema, threads=bench.threads) as workers,
    ):
        for statement in hold:
            holder.execute(statement.format(schema=schema))
        workers.go()
        began = time.time()
        producer = threading.Thread(target=_send_all, args=(bench, schema, total), daemon=True)
        producer.start()
        ended = wait_until_done(conn, schema, total, within_s=max(300.0, total / 1_000))
        producer.join()
        workers.stop()
        holder.execute("ROLLBACK")
    return total / (ended - began)


def _send_all(bench: Bench, schema: str, total: int) -> None:
    broker = make_broker(bench.url, schema, results=False)
    nothing = broker.get_actor("nothing")
    for start in range(0, total, SEND // 5):
        nothing.send_many([(1,)] * min(SEND // 5, total - start))
    broker.close()


def _backlog(bench: Bench, report: Report) -> None:
    large = 5_000_000 if bench.full else max(1_000, int(bench.backlog * min(1.0, bench.scale)))
    with fresh_schema(bench.url) as few, fresh_schema(bench.url, "pgqueue_bench_2") as many:
        small, big = Consumer(bench.url, few), Consumer(bench.url, many)
        small.send(1_000)
        for start in range(0, large, SEND):
            big.send(min(SEND, large - start))
            big.rotator.run_once(big.acks)
        acts: dict[str, Callable[[Consumer], object]] = {"claim": Consumer.claim, "enqueue": _send_a_hundred}
        for name, act in acts.items():
            ours, base, ratio = interleaved(
                bench.rounds * 5,
                partial(_milliseconds, big, act),
                partial(_milliseconds, small, act),
            )
            report.figures.append(
                Figure(
                    f"backlog.{name}",
                    f"{name} of {CLAIM} with a backlog of {large:,}",
                    ours,
                    "ms",
                    base,
                    "with a backlog of 1,000",
                    Target(1.3, 1.1, more_is_better=False),
                    ratio,
                )
            )
        small.close()
        big.close()


def _send_a_hundred(consumer: Consumer) -> None:
    consumer.send(CLAIM)


def _milliseconds(consumer: Consumer, act: Callable[[Consumer], object]) -> float:
    began = time.perf_counter()
    act(consumer)
    spent = (time.perf_counter() - began) * 1000
    consumer.send(CLAIM)  # what was claimed is there again
    return spent
