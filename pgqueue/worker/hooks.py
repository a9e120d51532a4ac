"""Hooks around the life of a worker's threads, which must not end these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..faults import Fault

if TYPE_CHECKING:
    from ..logging import OwnLogger

__all__ = ["logged_if_raised"]


@contextmanager
def logged_if_raised(logger: OwnLogger, where: str) -> Iterator[None]:
    """Log whatever a hook raises, SystemExit for example: Python ends a thread of it without a word.

    Parameters:
      where: When the hook is called, as the rest of a sentence about it.
    """
    try:
        yield
    except BaseException:
        logger.critical("Unexpected failure in a hook %s.", where, exc_info=True, fault=Fault.HOOK_FAILED)
