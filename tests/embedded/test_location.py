"""What ``embedded:`` URLs mean."""

import os
from pathlib import Path

import pytest

from pgqueue.embedded import is_embedded_url
from pgqueue.embedded.location import Location
from pgqueue.errors import EmbeddedServerError


@pytest.mark.parametrize("url", ["embedded:", "embedded:/dir", "embedded:///dir", "embedded:?port=5433"])
def test_these_ask_for_the_bundled_server(url: str) -> None:
    assert is_embedded_url(url)


@pytest.mark.parametrize("url", ["postgresql://localhost/embedded", "host=embedded:", "/dir", ""])
def test_these_do_not(url: str) -> None:
    assert not is_embedded_url(url)


@pytest.mark.parametrize(
    ("text", "directory", "port"),
    [
        ("embedded:/some/dir", "/some/dir", None),
        ("embedded:///some/dir", "/some/dir", None),
        ("embedded:/some/dir?port=5433", "/some/dir", 5433),
        ("embedded:/with space/and:colon", "/with space/and:colon", None),
        ("/some/dir", "/some/dir", None),
        (Path("/some/dir"), "/some/dir", None),
    ],
)
def test_a_directory_and_a_port_are_read(text: str | Path, directory: str, port: int | None) -> None:
    assert Location.parse(text) == Location(Path(directory), port)


def test_a_relative_directory_is_that_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location.parse("embedded:data").directory == tmp_path.resolve() / "data"


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Location.parse("embedded:~/data").directory == tmp_path.resolve() / "data"


@pytest.mark.parametrize(
    "url",
    [
        "embedded://host/dir",
        "embedded:/dir?port=0",
        "embedded:/dir?port=65536",
        "embedded:/dir?port=",
        "embedded:/dir?port=many",
        "embedded:/dir?durable=no",
    ],
)
def test_anything_else_is_refused_with_the_url(url: str) -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        Location.parse(url)
    assert url in str(caught.value)
    assert "embedded:/directory" in str(caught.value)


def test_without_a_directory_it_is_in_a_place_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    directory = Location.parse("embedded:").directory
    assert directory.is_relative_to(tmp_path)
    assert directory.parts[-2:] == ("pgqueue", "embedded")


def test_without_a_directory_root_has_one_that_other_accounts_can_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Location.parse("embedded:").directory == Path("/var/lib/pgqueue/embedded")
