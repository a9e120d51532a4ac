"""``pgqueue bench``: run the benchmarks, which lie beside the package in a checkout and inside it in a wheel."""

import argparse
import importlib
from pathlib import Path
from typing import Protocol, cast

__all__ = ["add_arguments", "run"]


class _Suite(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    _suite().add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    return _suite().run(arguments)


def _suite() -> _Suite:
    package = Path(__file__).parents[1]
    name = "pgqueue.benchmarks" if (package / "benchmarks").is_dir() else "benchmarks"
    return cast("_Suite", importlib.import_module(f"{name}.command"))
