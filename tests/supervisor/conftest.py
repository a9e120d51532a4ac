"""Projects whose workers the tests run."""

from pathlib import Path

import pytest

from tests.support.processes import Process
from tests.support.project import Project


@pytest.fixture
def project(tmp_path: Path, programs: list[Process]) -> Project:
    """An empty project in a directory of its own."""
    return Project(tmp_path, programs)
