"""An earlier release of pgqueue, for tests that stand it beside this one.

PGQUEUE_PREVIOUS names it. Without that it is the newest tag, or, before the first release, what was there just before
the schema's newest revision: the last that a rolling upgrade may have to stand beside.
"""

import os
from pathlib import Path

import pytest

from benchmarks.releases import NoRelease, Release, newest_tag, release_before_the_newest_revision, unpack

__all__ = ["Release", "previous_release"]


def previous_release(directory: Path) -> Release:
    """Unpack the previous release into an empty directory; skip the test, with the reason, where it can't be had."""
    try:
        asked = os.environ.get("PGQUEUE_PREVIOUS") or newest_tag() or release_before_the_newest_revision()
        return unpack(asked, directory)
    except NoRelease as error:
        pytest.skip(f"{error} (by PGQUEUE_PREVIOUS)")
