from __future__ import annotations

import pickle

import pytest

from pgqueue import errors
from pgqueue.middleware import Interrupt, Shutdown, TimeLimitExceeded


def test_dramatiqs_name_stands_for_our_root() -> None:
    assert errors.DramatiqError is errors.PgQueueError


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (errors.DecodeError, errors.PgQueueError),
        (errors.BrokerError, errors.PgQueueError),
        (errors.ActorNotFound, errors.BrokerError),
        (errors.QueueNotFound, errors.BrokerError),
        (errors.BrokerNotConfigured, errors.BrokerError),
        (errors.PermissionDenied, errors.BrokerError),
        (errors.DiskFull, errors.BrokerError),
        (errors.ServerOutOfMemory, errors.BrokerError),
        (errors.BrokerConnectionError, errors.BrokerError),
        (errors.ConnectionFailed, errors.BrokerConnectionError),
        (errors.ConnectionClosed, errors.BrokerConnectionError),
        (errors.DatabaseUnavailable, errors.ConnectionFailed),
        (errors.QueueJoinTimeout, errors.PgQueueError),
        (errors.RateLimitExceeded, errors.PgQueueError),
        (errors.Retry, errors.PgQueueError),
        (errors.ResultTimeout, errors.ResultError),
        (errors.ResultMissing, errors.ResultError),
        (errors.ResultFailure, errors.ResultError),
        (errors.SchemaOutdated, errors.PgQueueError),
        (errors.LeaseLost, errors.PgQueueError),
        (errors.MissingExtra, errors.PgQueueError),
        (errors.BadSetting, errors.PgQueueError),
        (errors.EmbeddedServerError, errors.PgQueueError),
        (errors.SkipMessage, errors.MiddlewareError),
    ],
)
def test_the_tree_is_the_one_in_the_docstring(child: type[Exception], parent: type[Exception]) -> None:
    assert issubclass(child, parent)


@pytest.mark.parametrize("interrupt", [TimeLimitExceeded, Shutdown])
def test_interrupts_are_no_exceptions(interrupt: type[BaseException]) -> None:
    assert interrupt.__bases__ == (Interrupt,)
    assert Interrupt.__bases__ == (BaseException,)


def test_middleware_errors_are_not_ours() -> None:
    assert errors.MiddlewareError.__bases__ == (Exception,)
    assert errors.PgQueueError.__bases__ == (Exception,)


def test_the_repr_of_an_error_shows_what_it_was_made_of() -> None:
    cause = ValueError("no")
    assert errors.DecodeError("bad", b"data", cause).args == ("bad", b"data", cause)
    assert repr(errors.ResultFailure("actor raised KeyError: 1", "KeyError", "1")) == (
        "ResultFailure('actor raised KeyError: 1', 'KeyError', '1')"
    )
    assert repr(errors.ResultFailure()) == "ResultFailure('', '', '')"


def test_an_error_reads_as_its_message_or_as_an_empty_string_in_quotes() -> None:
    assert str(errors.ActorNotFound("add")) == "add"
    assert str(errors.Retry()) == "''"


def test_a_retry_carries_its_delay() -> None:
    assert errors.Retry("later", delay=100).delay == 100
    assert errors.Retry("later").delay is None


def test_errors_name_the_way_out() -> None:
    assert "PGQUEUE_URL" in str(errors.BrokerNotConfigured())
    assert "embedded:" in str(errors.BrokerNotConfigured())
    assert "pip install 'pgqueue-engine[embedded]'" in str(errors.BrokerNotConfigured())
    assert "pgqueue migrate" in str(errors.SchemaOutdated(found=None, required="pgqueue_0002"))
    assert "pip install 'pgqueue-engine[watch]'" in str(errors.MissingExtra("watch", "Reloading on changes"))


@pytest.mark.parametrize(
    "error",
    [
        errors.DecodeError("bad", b"data", ValueError("no")),
        errors.Retry(delay=5),
        errors.ResultFailure("actor raised E: x", orig_exc_type="E", orig_exc_msg="x"),
        errors.SchemaOutdated(found="pgqueue_0001", required="pgqueue_0002"),
        errors.MissingExtra("watch", "Reloading"),
        errors.BrokerNotConfigured(),
        errors.BadSetting("no"),
    ],
)
def test_errors_survive_pickling(error: errors.PgQueueError) -> None:
    copied = pickle.loads(pickle.dumps(error))

    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert copied.__dict__.keys() == error.__dict__.keys()


def test_the_old_name_of_connection_errors_warns() -> None:
    with pytest.warns(DeprecationWarning, match="BrokerConnectionError"):
        assert errors.ConnectionError is errors.BrokerConnectionError


def test_there_is_no_other_dynamic_name() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = errors.Nothing
