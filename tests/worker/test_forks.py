"""Processes that actors and hooks of a running worker fork: they are no workers."""

import re

import pytest

from ..support.forks import run_forking

#: How the code of a forked process may end, and its exit code.
ENDS = [
    ("return", 0),
    ("sys.exit()", 0),
    ("sys.exit(3)", 3),
    ("sys.exit('why')", 1),
    ("raise ValueError('why')", 1),
]


@pytest.mark.parametrize(("end", "code"), ENDS)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_process_that_an_actor_forks_ends_with_the_actor(
    database_url: str, end: str, code: int, kind: str
) -> None:
    output = run_forking(
        f"""
        @pgqueue.actor(max_retries=1, min_backoff=10)
        {kind} act():
            pid = os.fork()
            if pid == 0:
                print("last words", end="")
                {end}
            else:
                wait_for(pid)

        run(act.message(), *(note.message(number) for number in range(20)))
        """,
        database_url,
    )
    assert re.findall(r"code .*", output) == [f"code {code} in main"], output
    assert "last words" in output
    assert output.count("why") == ("why" in end), output
    assert re.findall(r"ran .*", output) == [f"ran {number} in main" for number in range(20)], output


@pytest.mark.parametrize("end", ["return", "sys.exit(0)", "raise ValueError"])
@pytest.mark.parametrize("hook", ["before_process_message", "after_process_message"])
def test_one_that_a_hook_forks_ends_with_the_hook(database_url: str, hook: str, end: str) -> None:
    output = run_forking(
        f"""
        class Forking(Middleware):
            def {hook}(self, broker, message, **outcome):
                if message.args[0] == 0:
                    pid = os.fork()
                    if pid == 0:
                        {end}
                    else:
                        wait_for(pid)

        broker.add_middleware(Forking())
        run(*(note.message(number) for number in range(20)))
        """,
        database_url,
    )
    assert re.findall(r"code .*", output) == [f"code {int('raise' in end)} in main"], output
    assert re.findall(r"ran .*", output) == [f"ran {number} in main" for number in range(20)], output


def test_none_of_the_other_coroutines_runs_in_a_process_that_one_has_forked(database_url: str) -> None:
    output = run_forking(
        """
        async def beside(due):
            await due.wait()
            tell("waited")

        @pgqueue.actor(max_retries=0)
        async def act():
            due = asyncio.Event()
            task = asyncio.create_task(beside(due))
            asyncio.get_running_loop().call_later(0.1, due.set)
            await due.wait()  # before the other: its step comes in the same round of the loop
            pid = os.fork()
            await task
            tell("went on")
            wait_for(pid)

        run(act.message())
        """,
        database_url,
    )
    assert re.findall(r"(?:waited|went on).*", output) == ["waited in main", "went on in main"], output
    assert "code 0 in main" in output


def test_what_a_process_sends_that_an_after_hook_forks_is_sent(database_url: str) -> None:
    output = run_forking(
        """
        class Forking(Middleware):
            def after_process_message(self, broker, message, **outcome):
                if message.args == ("first",):
                    process = fork.Process(target=note.send, args=("second",))
                    process.start()
                    process.join()

        broker.add_middleware(Forking())
        run(note.message("first"))
        """,
        database_url,
    )
    assert re.findall(r"ran .*", output) == ["ran first in main", "ran second in main"], output


def test_a_worker_can_run_in_a_process_that_an_actor_has_forked(database_url: str) -> None:
    output = run_forking(
        """
        @pgqueue.actor(queue_name="inner")
        def inner():
            tell("inner")

        def serve():
            worker = pgqueue.Worker(broker, queues={"inner"}, worker_threads=1)
            worker.start()
            broker.join("inner", timeout=10_000)
            worker.stop()

        @pgqueue.actor(max_retries=0)
        def nest():
            inner.send()
            process = fork.Process(target=serve)
            process.start()
            process.join()
            tell("code", process.exitcode)

        run(nest.message())
        """,
        database_url,
    )
    assert "inner in a fork" in output, output
    assert "code 0 in main" in output, output
