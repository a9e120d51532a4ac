"""The demo's messages: one transaction, however many."""

import psycopg

from pgqueue.composition import group
from pgqueue.demo.program import make_program
from pgqueue.storage import outcomes, revision


def test_all_messages_are_sent_in_one_transaction(database_url: str) -> None:
    """More than one statement takes."""
    program = make_program(database_url, schema="pgqueue")
    counting = group(
        [program.count_words.message(f"http://x/{n}") for n in range(7_000)], broker=program.broker
    )
    counting.add_completion_callback(program.tell.message("http://x/finished"))
    counting.run()
    program.broker.close()
    with psycopg.connect(database_url) as conn:
        row = conn.execute(
            "SELECT count(*), count(DISTINCT xid), count(DISTINCT xmin::text) FROM pgqueue.messages"
        )
        assert row.fetchone() == (7_000, 1, 1)


def test_a_tally_of_a_queue_without_messages_is_zero(database_url: str) -> None:
    program = make_program(database_url, schema="pgqueue")
    with program.broker.database.connection() as conn:
        tally = outcomes.tally(conn, program.broker.database.statements, queue_name="pages")
    program.broker.close()
    assert tally == outcomes.Tally(0, 0, 0, 0)


def test_a_dropped_schema_is_gone_and_may_be_dropped_again(database_url: str) -> None:
    program = make_program(database_url, schema="pgqueue")
    for _ in range(2):
        with program.broker.database.connection() as conn:
            revision.drop(conn, program.broker.database.statements)
    program.broker.close()
    with psycopg.connect(database_url) as conn:
        found = conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'pgqueue'").fetchone()
    assert found == (0,)
