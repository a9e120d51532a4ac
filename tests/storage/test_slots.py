"""The ring of slots, and the statements that turn it."""

from pgqueue.storage import leases, slots

from ..support.queue import Queue, done


def test_a_further_slot_can_be_attached_and_used(queue: Queue) -> None:
    for number in (8, 9):
        slots.attach(queue.conn, queue.statements, slot=number)
    slots.open_slot(queue.conn, queue.statements, slot=9)
    queue.send("there")
    (message,) = queue.claimed(queue.owner())
    assert message.lease.slot == 9
    assert queue.settle([done(message)], closes=True) == {message.id}


def test_an_attached_slot_has_the_indexes_of_the_others(queue: Queue) -> None:
    slots.attach(queue.conn, queue.statements, slot=8)

    def indexes(slot: int) -> list[str]:
        found = queue.values(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid::regclass::text LIKE %s ORDER BY 1",
            f"pgqueue.%\\_{slot}",
        )
        return [definition.replace(f"_{slot}", "_0") for definition in found]

    assert indexes(8) == indexes(7)


def test_evacuation_leaves_finished_leases_behind(queue: Queue) -> None:
    queue.send("one", "two", "three")
    owner = queue.owner()
    for _ in range(2):
        (message,) = queue.claimed(owner, limit=1)
        queue.conn.execute("UPDATE pgqueue.leases SET done = ids WHERE lid = %s", (message.lease.lid,))
    (held,) = queue.claimed(owner, limit=1)
    slots.open_slot(queue.conn, queue.statements, slot=1)
    left = slots.evacuate(queue.conn, queue.statements, slot=0)
    assert left == slots.Left(0, 1)
    slots.truncate(queue.conn, queue.statements, slot=0)
    assert leases.find_leases(queue.conn, queue.statements, owner=owner) == {held.lease.lid: (1, {held.id})}


def test_evacuation_copies_only_what_is_still_needed(queue: Queue) -> None:
    queue.send("settled", "held", "ready")
    settled, held = queue.claimed(queue.owner(), limit=2)
    queue.settle([done(settled)])
    slots.open_slot(queue.conn, queue.statements, slot=1)
    slots.evacuate(queue.conn, queue.statements, slot=0)
    slots.truncate(queue.conn, queue.statements, slot=0)
    assert queue.values("SELECT payload FROM pgqueue.messages ORDER BY id") == [b"held", b"ready"]
    assert held.payload == b"held"
