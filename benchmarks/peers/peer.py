"""What a queue's file in `programs` says of itself: inline script metadata (PEP 723) with a table of ours."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PROGRAMS", "Peer", "Unavailable", "load", "names", "parse"]

#: Where the files are.
PROGRAMS = Path(__file__).with_name("programs")

_BLOCK = re.compile(r"(?m)^# /// script$\n(?P<content>(?:^#(?:| .*)$\n)+?)^# ///$")


class Unavailable(RuntimeError):
    """A queue can't be measured here; the text says why and what would help."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A queue.

    Parameters:
      package: The distribution whose version counts.
      service: The server that it needs: ``postgres``, ``redis`` or ``rabbitmq``.
      worker: The command line of one worker; ``{python}``, ``{bin}``, ``{url}`` and ``{worker}`` are filled in.
      slots: Tasks that run at a time in two workers.
      share: Its part of the messages: a slow queue would keep all others waiting.
      dependencies: What its environment is made of; without any, it is the environment of the benchmark itself.
    """

    name: str
    title: str
    package: str
    service: str
    worker: tuple[str, ...]
    slots: int
    share: float
    settings: str
    durability: str
    requires_python: str
    dependencies: tuple[str, ...]


def names() -> list[str]:
    """The names of all queues, pgqueue first."""
    found = sorted(path.stem for path in PROGRAMS.glob("[a-z]*.py"))
    return sorted(found, key=lambda name: name != "pgqueue")


def load(name: str) -> Peer:
    """Read what a queue's file says."""
    return parse(name, (PROGRAMS / f"{name}.py").read_text(encoding="utf-8"))


def parse(name: str, source: str) -> Peer:
    """Read what the text of a file says.

    Raises:
      ValueError: It has no metadata, or something is missing from it.
    """
    block = _BLOCK.search(source)
    if block is None:
        raise ValueError(
            f"{name}.py has no inline script metadata: expected a block that begins with # /// script"
        )
    lines = block["content"].splitlines()
    said: dict[str, Any] = tomllib.loads(
        "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
    )
    try:
        return Peer(
            name=name,
            worker=tuple(said["tool"]["peer"].pop("worker")),
            requires_python=said["requires-python"],
            dependencies=tuple(said["dependencies"]),
            share=said["tool"]["peer"].pop("share", 1.0),
            **said["tool"]["peer"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the metadata of {name}.py is not complete: {error}") from error
