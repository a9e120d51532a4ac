"""Who starts the bundled server, who shares it, and who outlives whom."""

import os
import signal
import time
from pathlib import Path

import psycopg
import pytest

from pgqueue import embedded
from pgqueue.embedded.locks import FileLock
from pgqueue.errors import EmbeddedServerError
from tests.support.eventually import eventually
from tests.support.processes import Process, alive

from .support import is_running, keeper_of, postmaster_of, user, wait_for_the_end


def number_of_tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row is not None
    return int(row[0])


def kill_keeper(directory: Path) -> None:
    """Kill the keeper; its lock is free only when the last of its threads has ended."""
    os.kill(keeper_of(directory), signal.SIGKILL)
    eventually(lambda: _assert(not FileLock.is_held(directory / "locks" / "keeper")))


def test_the_first_user_sets_the_server_up_and_its_data_stay(place: Path) -> None:
    directory = place / "not" / "yet" / "there"
    with embedded.start(directory, durable=False) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept (number int)")
    wait_for_the_end(directory)

    with embedded.start(directory, durable=False) as server:
        assert number_of_tables(server.url) == 1
    wait_for_the_end(directory)


def test_a_second_process_finds_the_server_running(server_directory: Path, programs: list[Process]) -> None:
    with embedded.start(server_directory) as server:
        pid = postmaster_of(server_directory)
        programs.append(user(server_directory))
        programs[0].wait_for(server.url)
        assert postmaster_of(server_directory) == pid


def test_processes_that_start_at_once_share_one_server(place: Path, programs: list[Process]) -> None:
    directory = place / "server"
    programs += [user(directory) for _ in range(4)]
    urls = {program.wait_for("using").split()[1] for program in programs}
    assert len(urls) == 1
    assert all(program.running() for program in programs)


def test_the_server_outlives_a_killed_starter_and_ends_with_its_last_user(
    server_directory: Path, programs: list[Process]
) -> None:
    starter, second = user(server_directory), user(server_directory)
    programs += [starter, second]
    for program in programs:
        program.wait_for("using")
    pids = [postmaster_of(server_directory), keeper_of(server_directory)]

    starter.kill()
    with embedded.start(server_directory) as server:
        assert number_of_tables(server.url) == 0
        assert postmaster_of(server_directory) == pids[0]
    assert is_running(server_directory)

    second.kill()
    wait_for_the_end(server_directory, *pids)


def test_the_server_ends_with_a_program_that_merely_ends(server_directory: Path) -> None:
    source = "import sys; from pgqueue import embedded; embedded.start(sys.argv[1])"
    with Process.script(source, str(server_directory)) as program:
        assert program.wait() == 0, program.output
    wait_for_the_end(server_directory)


def test_the_server_ends_with_a_program_that_is_interrupted(server_directory: Path) -> None:
    with user(server_directory) as program:
        program.wait_for("using")
        pids = [postmaster_of(server_directory), keeper_of(server_directory)]
        program.send(signal.SIGINT)
        program.wait()
    wait_for_the_end(server_directory, *pids)


def test_two_uses_in_one_process_are_counted_apart(server_directory: Path) -> None:
    first = embedded.start(server_directory)
    second = embedded.start(server_directory)
    first.release()
    assert number_of_tables(second.url) == 0
    second.release()
    second.release()
    wait_for_the_end(server_directory)
    with pytest.raises(EmbeddedServerError, match="not in use by this process"):
        _ = second.url


def test_a_fork_goes_on_using_the_server(server_directory: Path) -> None:
    source = """
        import os, sys, threading
        from pgqueue import embedded

        embedded.start(sys.argv[1])
        if os.fork():
            os._exit(0)
        print("forked", flush=True)
        threading.Event().wait()
    """
    with Process.script(source, str(server_directory)) as program:
        program.wait()
        eventually(lambda: _assert("forked" in program.output))
        assert is_running(server_directory)
    wait_for_the_end(server_directory)


def test_a_stopped_server_can_be_started_again_at_once(server_directory: Path) -> None:
    for _ in range(3):
        with embedded.start(server_directory, durable=False) as server:
            assert number_of_tables(server.url) == 0


def test_the_next_user_replaces_a_killed_keeper(server_directory: Path) -> None:
    with embedded.start(server_directory) as first:
        postmaster, keeper = postmaster_of(server_directory), keeper_of(server_directory)
        kill_keeper(server_directory)
        with embedded.start(server_directory) as second:
            assert first.url == second.url
            assert keeper_of(server_directory) != keeper
            assert postmaster_of(server_directory) == postmaster
    wait_for_the_end(server_directory, postmaster)


def test_the_last_user_replaces_a_killed_keeper_when_it_leaves(server_directory: Path) -> None:
    with embedded.start(server_directory):
        postmaster = postmaster_of(server_directory)
        kill_keeper(server_directory)
    wait_for_the_end(server_directory, postmaster)


def test_a_keeper_that_is_told_to_end_takes_the_server_along(server_directory: Path) -> None:
    with embedded.start(server_directory):
        pids = [postmaster_of(server_directory), keeper_of(server_directory)]
        os.kill(pids[1], signal.SIGTERM)
        wait_for_the_end(server_directory, *pids)


def test_everything_killed_at_once_is_recovered_by_the_next_user(
    server_directory: Path, programs: list[Process]
) -> None:
    programs.append(user(server_directory))
    url = programs[0].wait_for("using").split()[1]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (number int)")
    pids = [keeper_of(server_directory), postmaster_of(server_directory)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    programs[0].kill()

    eventually(lambda: _assert(not is_running(server_directory)))
    with embedded.start(server_directory) as server:
        assert number_of_tables(server.url) == 1


def test_a_starter_killed_in_the_middle_of_the_set_up_hinders_nobody(place: Path) -> None:
    directory = place / "server"
    with user(directory) as starter:
        eventually(lambda: _assert((directory / "data.new" / "PG_VERSION").exists()), within_s=15)
        starter.kill()
    with embedded.start(directory, durable=False) as server:
        assert number_of_tables(server.url) == 0
    assert not (directory / "data.new").exists()


@pytest.mark.slow
def test_a_server_that_dies_under_its_users_is_started_again(server_directory: Path) -> None:
    with embedded.start(server_directory) as server:
        postmaster = postmaster_of(server_directory)
        # A server that ends within five seconds of its start would do so again, so it is left alone.
        began = time.monotonic()
        eventually(lambda: _assert(time.monotonic() - began > 5.1), within_s=10)
        os.kill(postmaster, signal.SIGKILL)

        def answers() -> None:
            try:
                assert number_of_tables(server.url) == 0
            except psycopg.OperationalError as error:
                raise AssertionError from error

        eventually(answers, within_s=15)
        assert postmaster_of(server_directory) != postmaster


def test_a_temporary_server_leaves_nothing_even_when_its_user_is_killed() -> None:
    source = """
        import threading
        from pgqueue import embedded

        server = embedded.start(temporary=True, durable=False)
        print("made:", server.directory, flush=True)
        threading.Event().wait()
    """
    with Process.script(source) as program:
        directory = Path(program.wait_for("made:").split()[1])
        pids = [postmaster_of(directory), keeper_of(directory)]
        program.kill()
    eventually(lambda: _assert(not directory.exists()), within_s=15)
    eventually(lambda: _assert(not any(map(alive, pids))))


def _assert(fact: bool) -> None:
    assert fact
