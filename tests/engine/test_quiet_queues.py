"""Which queues are quiet, and when there is something to do for them: counted, without a server."""

import pytest

from pgqueue.engine import quiet
from pgqueue.engine.quiet import LONGEST_REST_S, RATE, QuietQueues
from pgqueue.storage.registers import IDLE_REGISTERS, idle_cell


class StandingClock:
    """Stands for the module time, and moves only when it is told to."""

    ahead = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.ahead


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    made = StandingClock()
    monkeypatch.setattr(quiet, "time", made)
    return made


#: A queue that shares its register with "flood".
NEIGHBOUR = next(
    name
    for number in range(50 * IDLE_REGISTERS)
    if idle_cell(name := f"queue-{number}") == idle_cell("flood")
)
MAIL = idle_cell("mail")


class TestWhichAreQuiet:
    def test_those_of_which_little_was_claimed_and_nothing_is_left(self, standing: StandingClock) -> None:
        queues = QuietQueues()
        assert standing.monotonic() < queues.due_at() < standing.monotonic() + 1.0
        standing.ahead += 1.0
        assert queues.due_at() < standing.monotonic()
        queues.count(["flood"] * 20 + ["steady"] * int(RATE + 1) + ["mail"] * int(RATE))
        assert queues.take(["flood", "steady", "mail"], busy=["flood"]) == ["mail"]
        assert queues.due_at() > standing.monotonic()

    def test_what_was_claimed_before_counts_no_more(self, standing: StandingClock) -> None:
        queues = QuietQueues()
        queues.count(["steady"] * 1_000)
        standing.ahead += 1.0
        assert queues.take(["steady"], busy=[]) == []
        standing.ahead += 1.0
        assert queues.take(["steady"], busy=[]) == ["steady"]

    def test_none_that_shares_its_register_with_a_busy_one(self) -> None:
        assert QuietQueues().take([NEIGHBOUR, "mail"], busy=["flood"]) == [NEIGHBOUR, "mail"]
        assert QuietQueues().take([NEIGHBOUR, "mail", "flood"], busy=["flood"]) == ["mail"]

    def test_none_for_which_all_processes_together_are_called_too_often(
        self, standing: StandingClock
    ) -> None:
        queues = QuietQueues()
        for number, expected in ((RATE, ["mail"]), (RATE + 1, [])):
            standing.ahead += 1.0
            for _ in range(int(number)):
                queues.called(MAIL)
            assert queues.take(["mail"], busy=[]) == expected

    def test_those_are_asked_again_after_rests_that_grow_until_it_was_calm(
        self, standing: StandingClock
    ) -> None:
        queues = QuietQueues()
        rests = []
        for loud in [True] * 8 + [False, True]:
            standing.ahead += 1.0
            for _ in range(1_000 if loud else 0):
                queues.called(MAIL)
            rest = 0
            while not queues.take(["mail"], busy=[]):
                standing.ahead += 1.0
                rest += 1
            rests.append(rest)
        grown = [0.9 * 2**number for number in range(8)]
        for rest, least in zip(
            rests, [*(min(each, LONGEST_REST_S) for each in grown), 0.0, 0.9], strict=True
        ):
            assert least <= rest <= 1.5 * least + 1.0

    def test_what_another_process_is_called_for_makes_a_rest_longer(self, standing: StandingClock) -> None:
        """Or each of many would ask in its turn, and the calls never end."""
        queues = QuietQueues()
        for _ in range(3):
            standing.ahead += 1.0
            for _ in range(1_000):
                queues.called(MAIL)
            assert queues.take(["mail"], busy=[]) == []
        standing.ahead += 3.5
        assert queues.take(["mail"], busy=[]) == []

    def test_there_is_a_claim_for_calls_while_senders_do_call_and_not_too_often(
        self, standing: StandingClock
    ) -> None:
        queues = QuietQueues()
        queues.called(MAIL)
        standing.ahead += 1.0
        assert queues.wanted_at() == float("inf")
        assert queues.take(["mail"], busy=[]) == ["mail"]
        assert queues.wanted_at() <= standing.monotonic()  # for what came before
        queues.began()
        queues.ended(1, limit=8)
        assert queues.wanted_at() == float("inf")
        queues.called(idle_cell("flood"))
        assert queues.wanted_at() == float("inf")
        queues.called(MAIL)
        assert queues.wanted_at() == pytest.approx(standing.monotonic() + quiet.SPACING_S)
        queues.began()
        queues.ended(8, limit=8)
        assert queues.wanted_at() == pytest.approx(
            standing.monotonic() + quiet.SPACING_S
        )  # there may be more
        queues.began()
        standing.ahead += 1.6
        queues.ended(1, limit=8)
        queues.called(None)
        assert queues.wanted_at() == float("inf")  # senders would not call any more

    def test_a_queue_that_is_asked_for_anew_is_looked_at_once(self, standing: StandingClock) -> None:
        queues = QuietQueues()
        for names, look in (
            (["mail"], True),
            (["mail"], False),
            (["mail", "flood"], True),
            (["flood"], False),
        ):
            standing.ahead += 1.0
            assert queues.take(names, busy=[]) == names
            assert (queues.wanted_at() < float("inf")) is look
            queues.began()

    def test_calls_for_nothing_are_heeded_less_and_less_until_one_was_for_something(
        self, standing: StandingClock
    ) -> None:
        queues = QuietQueues()
        waits = []
        for number in [0] * 6 + [1, 0]:
            queues.take(["mail"], busy=[])
            queues.began()
            queues.ended(number, limit=8)
            queues.called(MAIL)
            waits.append(round(queues.wanted_at() - standing.monotonic(), 3))
            standing.ahead += 0.1
        assert waits == pytest.approx([0.006, 0.012, 0.024, 0.048, 0.048, 0.048, 0.003, 0.006], abs=1e-6)

    def test_calls_for_what_our_own_claim_had_taken_before_are_not_heeded_less(
        self, standing: StandingClock
    ) -> None:
        """Or with one process, where nobody else is quicker, a call would wait for nothing."""
        queues = QuietQueues()
        queues.take(["mail"], busy=[])
        waits = []
        for taken in (["flood", "mail"], ["flood", "mail"], ["flood"], ["mail"]):
            queues.count(taken)
            queues.began()
            queues.ended(0, limit=8)
            queues.called(MAIL)
            waits.append(round(queues.wanted_at() - standing.monotonic(), 3))
            standing.ahead += 0.1
        assert waits == pytest.approx([0.003, 0.003, 0.006, 0.006], abs=1e-6)
