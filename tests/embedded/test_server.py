"""What the bundled server is like for its users, and who else gets in."""

import os
import re
import stat
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from pgqueue import embedded
from pgqueue.embedded import starting

from .support import OrdinaryUser, postmaster_of, wait_for_the_end


def setting(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def test_its_url_works_with_psycopg_and_sqlalchemy(server_directory: Path) -> None:
    with embedded.start(server_directory) as server:
        assert setting(server.url, "server_encoding") == "UTF8"
        engine = sqlalchemy.create_engine(server.url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
        engine.dispose()


def test_it_sorts_and_folds_the_same_everywhere(server_directory: Path) -> None:
    query = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()"
    with embedded.start(server_directory) as server, psycopg.connect(server.url) as connection:
        assert connection.execute(query).fetchone() == ("b", "C.UTF-8")


def test_variables_for_other_servers_do_not_lead_astray(
    server_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGHOST": "nowhere", "PGPORT": "1", "PGDATA": "/nowhere", "PGUSER": "nobody"}.items():
        monkeypatch.setenv(name, value)
    with embedded.start(server_directory) as server:
        assert setting(server.url, "port") == "5432"


def test_secrets_in_the_environment_stay_with_their_program(
    server_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "hush")
    with embedded.start(server_directory):
        seen = Path(f"/proc/{postmaster_of(server_directory)}/environ")
        if seen.exists():
            assert b"hush" not in seen.read_bytes()


def test_commits_are_durable_unless_told_otherwise(server_directory: Path) -> None:
    with embedded.start(server_directory) as server:
        assert (setting(server.url, "fsync"), setting(server.url, "synchronous_commit")) == ("on", "on")
    wait_for_the_end(server_directory)
    with embedded.start(server_directory, durable=False) as server:
        assert (setting(server.url, "fsync"), setting(server.url, "synchronous_commit")) == ("off", "off")


def test_settings_are_handed_to_postgresql(server_directory: Path) -> None:
    with embedded.start(server_directory, settings={"max_connections": "17"}) as server:
        assert setting(server.url, "max_connections") == "17"


def test_nobody_else_can_enter_its_directories(server_directory: Path) -> None:
    with embedded.start(server_directory):
        for path in [server_directory, *(server_directory / name for name in ("data", "run", "locks"))]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        for name in ("password", "endpoint", "server.log"):
            assert stat.S_IMODE((server_directory / name).stat().st_mode) == 0o600


def test_it_listens_on_no_port_unless_asked_to(server_directory: Path) -> None:
    with embedded.start(server_directory) as server:
        assert setting(server.url, "listen_addresses") == ""


def test_over_tcp_it_asks_for_the_password(server_directory: Path, free_port: int) -> None:
    password = (server_directory / "password").read_text()
    with embedded.start(f"embedded:{server_directory}?port={free_port}") as server:
        assert setting(server.url, "port") == str(free_port)
        address = f"host=127.0.0.1 port={free_port} user=postgres"
        with psycopg.connect(f"{address} password={password}") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"{address} password=wrong")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"{address} passfile=/nowhere")


def test_where_sockets_do_not_work_it_listens_on_a_free_port(
    server_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.embedded.endpoint._LONGEST_SOCKET_PATH", 0)
    with embedded.start(server_directory) as server:
        assert re.match(r"postgresql://postgres:[^@]{32}@127\.0\.0\.1:\d+/postgres$", server.url)
        assert setting(server.url, "listen_addresses") == "127.0.0.1"


def test_a_path_too_long_for_a_socket_gets_one_elsewhere_that_goes_with_the_server(place: Path) -> None:
    directory = place / ("long" * 25)
    with embedded.start(directory, durable=False) as server:
        elsewhere = Path(setting(server.url, "unix_socket_directories").strip('"'))
        assert elsewhere != directory / "run"
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    wait_for_the_end(directory)
    assert not elsewhere.exists()


@pytest.mark.parametrize("name", ["with space", 'quo"te', "com,ma", "per%cent", "ünïcode", "co:lon"])
def test_directories_may_have_any_name(place: Path, server_directory: Path, name: str) -> None:
    directory = server_directory.rename(place / name)
    with embedded.start(directory) as server:
        assert setting(server.url, "server_encoding") == "UTF8"


def test_little_shared_memory_is_noticed_and_done_without(
    server_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not starting._has_shared_memory("/nowhere")
    monkeypatch.setattr(starting, "_ENOUGH_SHARED_MEMORY", 2**60)
    with embedded.start(server_directory) as server:
        assert setting(server.url, "dynamic_shared_memory_type") == "mmap"


def test_it_works_for_an_ordinary_user(place: Path, ordinary_user: OrdinaryUser) -> None:
    source = """
        import os, sys, psycopg
        from pgqueue import embedded

        with embedded.start(sys.argv[1], durable=False) as server, psycopg.connect(server.url) as connection:
            print("owner:", os.stat(server.directory / "data").st_uid, os.getuid())
    """
    os.chown(place, ordinary_user.uid, ordinary_user.uid)
    with ordinary_user.runs(source, str(place / "server")) as program:
        assert program.wait() == 0, program.output
        assert f"owner: {ordinary_user.uid} {ordinary_user.uid}" in program.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up rights")
def test_for_root_it_runs_without_rights_and_changes_no_permission_on_the_way(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with embedded.start(closed / "server", durable=False) as server:
        assert setting(server.url, "server_encoding") == "UTF8"
        assert Path(f"/proc/{postmaster_of(closed / 'server')}").stat().st_uid != 0
        for path in (place, closed):
            assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (0o700, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as somebody else")
def test_root_runs_a_users_server_as_that_user(place: Path) -> None:
    directory = place / "server"
    directory.mkdir()
    os.chown(directory, 2, 2)
    with embedded.start(directory, durable=False):
        assert Path(f"/proc/{postmaster_of(directory)}").stat().st_uid == 2
    assert {path.stat().st_uid for path in directory.rglob("*")} == {2}
