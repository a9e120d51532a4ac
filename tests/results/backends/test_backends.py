"""What the package of backends offers."""

from __future__ import annotations

import sys

import pytest

from pgqueue.results import backends


def test_the_backend_of_the_server_is_found() -> None:
    assert backends.PostgresBackend.__name__ == "PostgresBackend"


def test_another_name_is_not_found() -> None:
    with pytest.raises(AttributeError, match="RedisBackend"):
        backends.RedisBackend  # noqa: B018


def test_without_its_driver_the_backend_is_missing_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pgqueue.results.backends.postgres", None)
    monkeypatch.delattr(backends, "postgres", raising=False)
    with pytest.warns(ImportWarning, match="PostgresBackend"), pytest.raises(AttributeError):
        backends.PostgresBackend  # noqa: B018
