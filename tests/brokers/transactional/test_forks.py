"""Processes that the bodies of transactional actors fork: they have no part in the transaction."""

import re

import psycopg

from ...support.forks import run_forking


def test_a_process_that_the_body_forks_sends_at_once(database_url: str) -> None:
    output = run_forking(
        """
        def child():
            try:
                pgqueue.current_transaction()
            except pgqueue.errors.NoCurrentTransaction:
                tell("no transaction")
            try:
                body.connection
            except pgqueue.errors.NoCurrentTransaction:
                tell("no connection")
            for number in range(10):
                note.send(number)

        @pgqueue.actor(transactional=True, max_retries=0)
        def fork_and_fail():
            global body
            body = pgqueue.current_transaction()
            body.connection.execute("SELECT 1")
            process = fork.Process(target=child)
            process.start()
            process.join()
            tell("code", process.exitcode)
            raise ValueError

        run(fork_and_fail.message())
        """,
        database_url,
    )
    assert "code 0 in main" in output, output
    assert "no transaction in a fork" in output
    assert "no connection in a fork" in output
    assert sorted(re.findall(r"ran (\d) in main", output)) == list("0123456789"), output


def test_the_body_goes_on_beside_the_processes_that_it_has_forked(database_url: str) -> None:
    output = run_forking(
        """
        def child(name):
            for number in range(20):
                note.send(f"{name}.{number}")

        @pgqueue.actor(transactional=True, max_retries=0)
        def ask():
            conn = pgqueue.current_transaction().connection
            conn.execute("SELECT 1")
            processes = [fork.Process(target=child, args=(name,)) for name in "ab"]
            for process in processes:
                process.start()
            answers = [conn.execute("SELECT %s::int", (n,)).fetchone()[0] for n in range(300)]
            for process in processes:
                process.join()
            tell("answered", answers == list(range(300)))

        run(ask.message())
        """,
        database_url,
    )
    assert "answered True in main" in output, output
    assert len(set(re.findall(r"ran ([ab]\.\d+) in main", output))) == 40, output


def test_one_that_comes_back_from_the_body_leaves_the_transaction_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("CREATE TABLE effects (what text)")
    output = run_forking(
        """
        @pgqueue.actor(transactional=True, max_retries=2, min_backoff=10)
        def pay():
            conn = pgqueue.current_transaction().connection
            conn.execute("INSERT INTO effects VALUES ('order')")
            with conn.transaction():
                pid = os.fork()
                if pid == 0:
                    os.execv("/no/such/tool", ["tool"])
                wait_for(pid)
                conn.execute("INSERT INTO effects VALUES ('payment')")

        run(pay.message())
        """,
        database_url,
    )
    assert re.findall("code .*", output) == ["code 1 in main"], output
    assert "FileNotFoundError" in output
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT what FROM effects ORDER BY 1").fetchall() == [
            ("order",), ("payment",)
        ]  # fmt: skip
        assert conn.execute("SELECT status FROM pgqueue.outcomes").fetchall() == [("d",)]


def test_one_that_a_call_after_the_commit_forks_ends_there(database_url: str) -> None:
    output = run_forking(
        """
        def later():
            pid = os.fork()
            if pid:
                wait_for(pid)

        @pgqueue.actor(transactional=True, max_retries=0)
        def act():
            pgqueue.current_transaction().on_commit(later)

        run(act.message(), *(note.message(number) for number in range(20)))
        """,
        database_url,
    )
    assert "code 0 in main" in output, output
    assert re.findall(r"ran .*", output) == [f"ran {number} in main" for number in range(20)], output
