from __future__ import annotations

import pytest

from benchmarks.peers.peer import PROGRAMS, load, names, parse

COMPLETE = """
# /// script
# requires-python = ">=3.11"
# dependencies = ["slow==1.0"]
#
# [tool.peer]
# title = "Slow"
# package = "slow"
# service = "postgres"
# worker = ["{bin}/slow"]
# slots = 2
# settings = "defaults"
# durability = "none"
# ///
"""


def test_pgqueue_is_the_first_of_the_queues() -> None:
    assert names()[0] == "pgqueue"
    assert {"dramatiq_redis", "dramatiq_rabbitmq", "celery_redis", "procrastinate", "pgqueuer"} < set(names())


@pytest.mark.parametrize("name", names())
def test_each_queue_says_what_it_needs_and_pins_it(name: str) -> None:
    peer = load(name)
    assert peer.service in {"postgres", "redis", "rabbitmq"}
    assert 0 < peer.share <= 1
    assert peer.slots >= 2
    for word in peer.worker:
        word.format(python="", bin="", url="", worker="")
    if name == "pgqueue":
        assert not peer.dependencies
        return
    pinned = [
        dependency.partition("==")[0].partition("[")[0]
        for dependency in peer.dependencies
        if "==" in dependency
    ]
    assert peer.package in pinned


def test_the_queues_programs_import_nothing_of_ours_but_the_ledger_and_their_interface() -> None:
    for path in PROGRAMS.glob("[a-z]*.py"):
        ours = [
            line
            for line in path.read_text().splitlines()
            if line.startswith(("from benchmarks", "from .", "import benchmarks"))
        ]
        assert {line.split()[1] for line in ours} <= {"benchmarks.peers", "benchmarks.peers.program"}, (
            path.name
        )


def test_metadata_is_read_with_its_defaults() -> None:
    peer = parse("slow", COMPLETE)
    assert (peer.title, peer.worker, peer.share, peer.dependencies) == (
        "Slow",
        ("{bin}/slow",),
        1.0,
        ("slow==1.0",),
    )


def test_a_file_without_metadata_or_with_half_of_it_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"slow\.py has no inline script metadata"):
        parse("slow", '"""Slow."""\n')
    with pytest.raises(ValueError, match=r"the metadata of slow\.py is not complete: .*durability"):
        parse("slow", COMPLETE.replace('# durability = "none"\n', ""))
