"""``pgqueue dashboard``: where it listens, whom it lets in, and what it says when it can't."""

from __future__ import annotations

import re
import signal
import socket

import httpx
import pytest

from tests.support.processes import Process

#: An address that others reach.
EVERYWHERE = "0.0.0.0"  # noqa: S104  # that is the point


def start(programs: list[Process], url: str, *arguments: str, **env: str | None) -> Process:
    """Start the command on a free port."""
    names = dict.fromkeys(("PGQUEUE_DASHBOARD_PASSWORD", "PGQUEUE_DASHBOARD_VIEWER_PASSWORD"))
    words = ["-m", "pgqueue", "dashboard", "--url", url, "--port", "0", *arguments]
    program = Process(words, env={**names, **env}, warm=True)
    programs.append(program)
    return program


def address_of(program: Process) -> str:
    found = re.search(r"http://\S+", program.wait_for("Ctrl-C ends it"))
    assert found
    return found[0].rstrip("/")


def test_it_serves_this_machine_until_it_is_interrupted(programs: list[Process], database_url: str) -> None:
    program = start(programs, database_url)
    address = address_of(program)
    assert address.startswith("http://127.0.0.1:")
    assert httpx.get(f"{address}/").status_code == 200
    assert httpx.get(f"{address}/", headers={"host": "evil.example"}).status_code == 421
    program.send(signal.SIGINT)
    assert program.wait() in {0, 130}, program.output
    assert "Traceback" not in program.output


def test_it_is_open_to_others_only_with_a_password_or_read_only(
    programs: list[Process], database_url: str
) -> None:
    refused = start(programs, database_url, "--host", EVERYWHERE)
    assert refused.wait() == 2
    assert "Pass --password" in refused.output
    guarded = start(programs, database_url, "--host", EVERYWHERE, PGQUEUE_DASHBOARD_PASSWORD="sesame")
    address = address_of(guarded).replace(EVERYWHERE, "127.0.0.1")
    assert httpx.get(f"{address}/").status_code == 401
    assert (
        httpx.get(f"{address}/", auth=("me", "sesame"), headers={"host": "queues.example"}).status_code == 200
    )
    assert "sesame" not in guarded.output
    read_only = start(programs, database_url, "--host", EVERYWHERE, "--read-only")
    address = address_of(read_only).replace(EVERYWHERE, "127.0.0.1")
    assert "read-only" in httpx.get(f"{address}/").text
    assert "everybody who reaches it" in read_only.output


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_password_of_the_environment_is_none(
    programs: list[Process], database_url: str, blank: str
) -> None:
    names = ("PGQUEUE_DASHBOARD_PASSWORD", "PGQUEUE_DASHBOARD_VIEWER_PASSWORD")
    refused = start(programs, database_url, "--host", EVERYWHERE, **dict.fromkeys(names, blank))
    assert refused.wait() == 2
    assert "Pass --password" in refused.output
    viewers = start(
        programs, database_url, "--host", EVERYWHERE, **dict(zip(names, (blank, "look"), strict=True))
    )
    address = address_of(viewers).replace(EVERYWHERE, "127.0.0.1")
    assert [httpx.get(f"{address}/queues", auth=auth).status_code for auth in (None, ("", blank))] == [
        401,
        401,
    ]
    assert "<span>read-only</span>" in httpx.get(f"{address}/queues", auth=("", "look")).text
    assert "nobody can act" in viewers.output


@pytest.mark.parametrize("option", ["--password", "--viewer-password"])
def test_a_blank_password_on_the_command_line_is_refused(
    programs: list[Process], database_url: str, option: str
) -> None:
    refused = start(programs, database_url, "--host", EVERYWHERE, f"{option}=")
    assert refused.wait() == 2
    assert "password is blank" in refused.output
    assert "Traceback" not in refused.output


def test_a_proxy_may_serve_it_under_a_path(programs: list[Process], database_url: str) -> None:
    address = address_of(start(programs, database_url, "--root-path", "/queues/"))
    assert 'href="/queues/messages"' in httpx.get(f"{address}/").text


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_refused(programs: list[Process], port: str) -> None:
    program = start(programs, "postgresql://", f"--port={port}")
    assert program.wait() == 2
    assert "is no port" in program.output


def test_a_port_that_is_taken_is_named(programs: list[Process], database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = start(programs, database_url, "--port", str(port))
        assert program.wait() == 2
        assert f"Can't listen on 127.0.0.1, port {port}" in program.output


def test_a_missing_extra_is_named(programs: list[Process], database_url: str) -> None:
    for missing in ("starlette", "uvicorn"):
        program = Process.script(
            f"""
            import sys
            sys.modules["{missing}"] = None
            from pgqueue.cli import main
            sys.exit(main(["dashboard", "--url", {database_url!r}]))
            """
        )
        programs.append(program)
        assert program.wait() == 2
        assert "pip install 'pgqueue-engine[dashboard]'" in program.output
