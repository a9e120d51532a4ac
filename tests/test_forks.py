"""What a process sends that was forked from one with a broker."""

import pytest

from .support.forks import run_forking, waiting


def test_a_process_can_send_though_another_thread_was_sending_when_it_was_forked(database_url: str) -> None:
    output = run_forking(
        """
        asked, answer = threading.Event(), threading.Event()
        main = os.getpid()

        def url():
            if os.getpid() == main:
                asked.set()
                answer.wait()
            return URL

        pgqueue.set_broker(PostgresBroker(url))

        @pgqueue.actor
        def one(n): pass

        thread = threading.Thread(target=one.send, args=("parent",))
        thread.start()
        asked.wait()
        print("CODE", in_child(lambda: one.send("child")))
        answer.set()
        thread.join()
        """,
        database_url,
    )
    assert "CODE 0" in output
    assert waiting(database_url) == ["child", "parent"]


def test_a_signal_handler_can_send_though_it_interrupts_a_first_send(database_url: str) -> None:
    run_forking(
        """
        def url():
            if signal.getsignal(signal.SIGUSR1) == handle:
                signal.raise_signal(signal.SIGUSR1)
            return URL

        def handle(*_):
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            one.send("handler")

        signal.signal(signal.SIGUSR1, handle)
        pgqueue.set_broker(PostgresBroker(url))

        @pgqueue.actor
        def one(n): pass

        one.send("main")
        """,
        database_url,
    )
    assert waiting(database_url) == ["handler", "main"]


def test_a_process_that_is_forked_in_a_block_for_a_transaction_sends_at_once(database_url: str) -> None:
    output = run_forking(
        """
        pgqueue.set_broker(PostgresBroker(URL))

        @pgqueue.actor
        def one(n): pass

        with psycopg.connect(URL) as conn, pgqueue.transaction(conn):
            one.send("parent")
            print("CODE", in_child(lambda: one.send("child")))
            one.send("parent again")
            conn.rollback()
        """,
        database_url,
    )
    assert "CODE 0" in output
    assert waiting(database_url) == ["child"]


def test_a_process_that_goes_on_with_a_loop_has_connections_of_its_own(database_url: str) -> None:
    output = run_forking(
        """
        pgqueue.set_broker(PostgresBroker(URL))

        @pgqueue.actor
        def one(n): pass

        def send(name):
            for number in range(50):
                loop.run_until_complete(one.send_async(f"{name}{number}"))

        loop = asyncio.new_event_loop()
        loop.run_until_complete(one.send_async("first"))
        process = fork.Process(target=send, args=("child",))
        process.start()
        send("parent")
        process.join()
        print("CODE", process.exitcode)
        loop.run_until_complete(pgqueue.get_broker().close_async())
        """,
        database_url,
    )
    assert "CODE 0" in output
    names = [f"{name}{number}" for name in ("child", "parent") for number in range(50)]
    assert waiting(database_url) == sorted(["first", *names])


def test_a_process_closes_only_connections_of_its_own(database_url: str) -> None:
    output = run_forking(
        """
        broker = PostgresBroker(URL)
        pgqueue.set_broker(broker)

        @pgqueue.actor
        def one(n): pass

        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()

        def send(name):
            asyncio.run_coroutine_threadsafe(one.send_async(name + " async"), loop).result()
            one.send(name)

        def child():
            broker.close()
            one.send("child")

        send("first")
        print("CODE", in_child(child))
        send("second")
        broker.close()
        """,
        database_url,
    )
    assert "CODE 0" in output
    assert waiting(database_url) == ["child", "first", "first async", "second", "second async"]


@pytest.mark.parametrize(
    ("pool", "code"),
    [
        ("ConnectionPool(URL, open=True)", 1),
        ("ConnectionPool(URL, open=False)", 0),
        ("NullConnectionPool(URL, open=True)", 0),
    ],
)
def test_a_pool_that_was_given_is_one_process_s(database_url: str, pool: str, code: int) -> None:
    output = run_forking(
        f"""
        pool = {pool}
        pgqueue.set_broker(PostgresBroker(pool=pool))

        @pgqueue.actor
        def one(n): pass

        if not pool.closed:
            one.send("parent")
        print("CODE", in_child(lambda: (pool.open(), one.send("child"))))
        pool.open()
        one.send("parent again")
        pool.close()
        """,
        database_url,
    )
    assert f"CODE {code}" in output, output
    assert ("BadSetting" in output) == bool(code)
    assert ("child" in waiting(database_url)) == (not code)


def test_everything_can_be_imported_where_there_are_no_forks(database_url: str) -> None:
    """As on Windows."""
    output = run_forking(
        """
        import importlib, sys
        for name in [name for name in sys.modules if name.partition(".")[0] == "pgqueue"]:
            del sys.modules[name]
        del os.register_at_fork
        for name in ("", ".asyncio", ".brokers.postgres", ".rate_limits.backends", ".results.backends",
                     ".integrations.sqlalchemy", ".integrations.django.transactions"):
            importlib.import_module("pgqueue" + name)
        print("all of them")
        """,
        database_url,
    )
    assert "all of them" in output
