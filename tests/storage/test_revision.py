"""Which schemas a release works on, by the names of their revisions."""

import pytest

from pgqueue.errors import ReleaseOutdated, SchemaOutdated
from pgqueue.storage.revision import check_revision, needed_by, number_of


@pytest.mark.parametrize("found", ["pgqueue_0005", "pgqueue_0006", "pgqueue_0009_needs_0005", "pgqueue_0123"])
def test_a_release_works_on_its_own_revision_and_on_later_ones_that_let_it(found: str) -> None:
    check_revision(found, "pgqueue_0005")


@pytest.mark.parametrize("found", [None, "pgqueue_0004", "pgqueue_0004_needs_0002"])
def test_an_older_schema_is_refused_with_the_command_that_mends_it(found: str | None) -> None:
    with pytest.raises(SchemaOutdated, match="pgqueue migrate"):
        check_revision(found, "pgqueue_0005")


@pytest.mark.parametrize("found", ["pgqueue_0009_needs_0006", "elsewhere_0001", "pgqueue_x"])
def test_a_schema_that_has_gone_too_far_is_refused(found: str) -> None:
    with pytest.raises(ReleaseOutdated, match="newer pgqueue-engine"):
        check_revision(found, "pgqueue_0005")


def test_a_name_tells_its_place_and_whom_it_is_for() -> None:
    assert (number_of("pgqueue_0009_needs_0007"), needed_by("pgqueue_0009_needs_0007")) == (9, 7)
    assert (number_of("pgqueue_0009"), needed_by("pgqueue_0009")) == (9, 0)
