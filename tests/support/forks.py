"""Programs that fork, amid all that a broker and a worker may be doing."""

import json
import textwrap

import psycopg

from .processes import Process

__all__ = ["run_forking", "waiting"]

#: They know `in_child`, which runs a call in a forked process that ends as it should.
HEAD = """
import asyncio, multiprocessing, os, signal, sys, threading
import psycopg, pgqueue, pgqueue.errors
from psycopg_pool import ConnectionPool, NullConnectionPool
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import AsyncIO, Middleware

signal.alarm(60)  # if it hangs, it ends
URL = os.environ["PGQUEUE_URL"]
fork = multiprocessing.get_context("fork")

def in_child(call):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(30)
    try:
        call()
        os._exit(0)
    except BaseException as error:
        print("CHILD", repr(error), flush=True)
        os._exit(1)
"""

#: A program with a worker; what has run is told with the process in which it did.
WORKER = (
    HEAD
    + """
broker = PostgresBroker(URL)
broker.add_middleware(AsyncIO())
pgqueue.set_broker(broker)
main = os.getpid()

def tell(*words):
    print(*words, "in main" if os.getpid() == main else "in a fork", flush=True)

@pgqueue.actor(max_retries=0)
def note(text):
    tell("ran", text)

def run(*messages):
    broker.enqueue_many(messages)
    broker.emit_after("process_boot")
    worker = pgqueue.Worker(broker, queues={"default"}, worker_threads=1)
    worker.start()
    broker.join("default", timeout=20_000)
    worker.stop()
    broker.emit_before("process_stop")

def wait_for(pid):
    tell("code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
)


def run_forking(source: str, url: str) -> str:
    """Run a program to its end; return its output."""
    head = WORKER if "run(" in source else HEAD
    with Process.script(head + textwrap.dedent(source), env={"PGQUEUE_URL": url}, warm=True) as program:
        assert program.wait(timeout_s=90) == 0, program.output
        return program.output


def waiting(url: str) -> list[object]:
    """The first arguments of all messages that wait."""
    with psycopg.connect(url) as conn:
        rows = conn.execute("SELECT payload FROM pgqueue.messages").fetchall()
    return sorted(json.loads(bytes(payload))["args"][0] for (payload,) in rows)
