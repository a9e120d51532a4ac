"""How results look in a backend."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from pgqueue.errors import ResultFailure
from pgqueue.results.result import unwrap_result, wrap_exception, wrap_result

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


@given(value=JSON)
def test_a_success_is_stored_as_it_is(value: Any) -> None:
    assert wrap_result(value) == value
    assert unwrap_result(wrap_result(value)) == value


def test_a_failure_is_stored_as_a_marked_dict() -> None:
    assert wrap_exception(ValueError("no")) == {
        "__t": "pgqueue.results.Result",
        "exn": {"type": "ValueError", "msg": "no"},
    }


def test_a_failure_is_raised_with_what_is_known_of_its_exception() -> None:
    with pytest.raises(ResultFailure, match="actor raised ValueError: no") as failure:
        unwrap_result(wrap_exception(ValueError("no")))
    assert failure.value.orig_exc_type == "ValueError"
    assert failure.value.orig_exc_msg == "no"
    assert repr(failure.value) == "ResultFailure('actor raised ValueError: no', 'ValueError', 'no')"


def test_another_dict_is_a_success() -> None:
    assert unwrap_result({"__t": "mine", "exn": {}}) == {"__t": "mine", "exn": {}}
