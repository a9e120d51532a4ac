from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import pgqueue
from pgqueue import Actor, GenericActor
from pgqueue.asyncio import EventLoopThread, set_event_loop_thread
from pgqueue.brokers.stub import StubBroker
from pgqueue.common import current_millis


@pytest.fixture(autouse=True)
def broker(stub_broker: StubBroker) -> StubBroker:
    return stub_broker


def add(x: int, y: int = 0) -> int:
    return x + y


class TestDeclaring:
    def test_a_bare_decorator_makes_an_actor_with_defaults(self, broker: StubBroker) -> None:
        actor = pgqueue.actor(add)

        assert isinstance(actor, Actor)
        assert actor.fn is add
        assert actor.broker is broker
        assert actor.actor_name == "add"
        assert actor.queue_name == "default"
        assert actor.priority == 0
        assert actor.options == {}
        assert actor.logger.name == f"{__name__}.add"
        assert broker.get_actor("add") is actor

    def test_keywords_set_what_it_is(self, broker: StubBroker) -> None:
        actor = pgqueue.actor(actor_name="sum", queue_name="sums", priority=3, max_retries=0)(add)

        assert (actor.actor_name, actor.queue_name, actor.priority) == ("sum", "sums", 3)
        assert actor.options == {"max_retries": 0}
        assert "sums" in broker.get_declared_queues()

    def test_it_may_be_declared_on_another_broker(self, broker: StubBroker) -> None:
        other = StubBroker()

        assert pgqueue.actor(broker=other)(add).broker is other
        assert broker.get_declared_actors() == set()

    def test_a_name_can_be_taken_only_once(self, broker: StubBroker) -> None:
        pgqueue.actor(add)

        with pytest.raises(ValueError, match=r"^An actor named 'add' is already registered\.$"):
            pgqueue.actor(add)
        with pytest.raises(ValueError, match="already registered"):
            Actor(add, broker=broker, actor_name="add", queue_name="default", priority=0, options={})

    @pytest.mark.parametrize("name", ["default", "_", "a.b-c_9", "Q.DQ"])
    def test_queues_may_be_called_like_this(self, name: str) -> None:
        assert pgqueue.actor(queue_name=name)(add).queue_name == name

    @pytest.mark.parametrize("name", ["", "9a", "-a", "a b", "a\n", "ä", "$"])
    def test_queues_can_t_be_called_like_this(self, name: str, broker: StubBroker) -> None:
        with pytest.raises(ValueError, match="queue"):
            pgqueue.actor(queue_name=name)(add)
        assert broker.get_declared_actors() == set()

    @pytest.mark.parametrize("name", [None, 5, b"default"])
    def test_the_name_of_a_queue_is_a_text(self, name: Any) -> None:
        with pytest.raises(ValueError, match="A queue can't be called"):
            pgqueue.actor(queue_name=name)(add)

    @pytest.mark.parametrize("kwargs", [5, [("left", 1)], "ab"])
    def test_keyword_arguments_without_names_are_refused(self, kwargs: Any) -> None:
        with pytest.raises(TypeError, match="Actor 'add' takes keyword arguments by name"):
            pgqueue.actor(add).send_with_options(kwargs=kwargs)

    def test_options_that_nobody_knows_are_named(self) -> None:
        with pytest.raises(ValueError, match="'colour', 'smell'"):
            pgqueue.actor(smell="sweet", colour="red", max_retries=1)(add)

    def test_another_class_can_make_the_actor(self) -> None:
        class Special(Actor[Any, Any]):
            pass

        made = pgqueue.actor(actor_class=Special)(add)
        assert isinstance(made, Special)

    def test_whatever_takes_an_actors_arguments_can_make_it(self, broker: StubBroker) -> None:
        asked: list[Any] = []

        def make(fn: Any, **arguments: Any) -> Actor[Any, Any]:
            asked.append((fn, arguments))
            return Actor(fn, **arguments)

        made = pgqueue.actor(actor_class=make, priority=3, max_retries=1)(add)

        assert broker.get_actor("add") is made
        assert asked == [
            (
                add,
                {
                    "broker": broker,
                    "actor_name": "add",
                    "queue_name": "default",
                    "priority": 3,
                    "options": {"max_retries": 1},
                },
            )
        ]

    def test_only_the_decorator_looks_at_names_of_queues(self, broker: StubBroker) -> None:
        Actor(add, broker=broker, actor_name="add", queue_name="9 a", priority=0, options={})

        assert "9 a" in broker.get_declared_queues()

    def test_its_broker_is_that_of_the_moment(self, broker: StubBroker) -> None:
        actor = pgqueue.actor(add)
        pgqueue.set_broker(StubBroker())

        assert actor.broker is broker
        assert pgqueue.actor(add).broker is pgqueue.get_broker()

    def test_any_callable_with_a_name_will_do(self) -> None:
        actor = pgqueue.actor(actor_name="add_two")(functools.partial(add, 2))

        assert actor(3) == 5

    def test_it_says_what_it_is(self) -> None:
        actor = pgqueue.actor(actor_name="test")(add)

        assert repr(actor) == f"Actor({add!r}, queue_name='default', actor_name='test')"
        assert str(actor) == "Actor(test)"


class TestCalling:
    def test_a_call_runs_the_function(self) -> None:
        assert pgqueue.actor(add)(1, y=2) == 3

    def test_a_call_is_logged_for_debugging(self, caplog: pytest.LogCaptureFixture) -> None:
        actor = pgqueue.actor(add)

        with caplog.at_level(logging.DEBUG, actor.logger.name):
            assert actor(1, y=2) == 3

        arguments, duration = [record.getMessage() for record in caplog.records]
        assert "(1,)" in arguments
        assert "{'y': 2}" in arguments
        assert "ms" in duration


class TestMessages:
    def test_a_message_is_made_but_not_sent(self, broker: StubBroker) -> None:
        message = pgqueue.actor(queue_name="sums")(add).message(1, y=2)

        assert message.queue_name == "sums"
        assert message.actor_name == "add"
        assert message.args == (1,)
        assert message.kwargs == {"y": 2}
        assert message.options == {}
        assert broker.queues["sums"].qsize() == 0

    def test_options_are_not_checked(self) -> None:
        message = pgqueue.actor(add).message_with_options(args=[1], kwargs={"y": 2}, colour="red", delay=5)

        assert message.args == (1,)
        assert message.kwargs == {"y": 2}
        assert message.options == {"colour": "red", "delay": 5}

    def test_a_delay_for_a_pipeline_may_be_a_timedelta(self) -> None:
        message = pgqueue.actor(add).message_with_options(delay=timedelta(seconds=1))

        assert message.options == {"delay": 1000}

    def test_messages_do_not_share_their_dictionaries(self) -> None:
        actor = pgqueue.actor(add)

        assert actor.message(1).kwargs is not actor.message(1).kwargs
        assert actor.message(1).options is not actor.message(1).options

    @pytest.mark.parametrize("option", ["on_success", "on_failure"])
    def test_callbacks_become_names(self, option: str) -> None:
        actor = pgqueue.actor(add)

        def options(value: Any) -> dict[str, Any]:
            return actor.message_with_options(**{option: value}).options

        assert options(actor) == {option: "add"}
        assert options("other") == {option: "other"}
        assert options(None) == {option: None}

    @pytest.mark.parametrize("option", ["on_success", "on_failure"])
    def test_callbacks_must_be_actors_or_names(self, option: str) -> None:
        class Notify(GenericActor):
            def perform(self) -> None: ...

        actor = pgqueue.actor(add)

        values: list[Any] = [5, add, Notify]
        for value in values:
            with pytest.raises(TypeError, match=option):
                actor.message_with_options(args=(), **{option: value})


class TestSending:
    def test_what_was_sent_is_returned(self, broker: StubBroker) -> None:
        sent = pgqueue.actor(add).send(1, y=2)

        assert broker.queues["default"].qsize() == 1
        assert pgqueue.Message.decode(broker.queues["default"].get_nowait()) == sent
        assert (sent.args, sent.kwargs) == ((1,), {"y": 2})

    @pytest.mark.parametrize("delay", [1000, timedelta(seconds=1)])
    def test_a_delay_leads_through_the_delay_queue(self, delay: int | timedelta, broker: StubBroker) -> None:
        before = current_millis()

        sent = pgqueue.actor(add).send_with_options(args=(1,), delay=delay, max_retries=1)

        assert sent.queue_name == "default.DQ"
        assert before + 1000 <= sent.options["eta"] <= current_millis() + 1000
        assert sent.options["max_retries"] == 1
        assert "delay" not in sent.options
        assert broker.queues["default.DQ"].qsize() == 1

    def test_no_delay_at_all_is_a_delay(self) -> None:
        assert pgqueue.actor(add).send_with_options(delay=0).queue_name == "default.DQ"

    def test_many_runs_can_be_asked_for_at_once(self, broker: StubBroker) -> None:
        sent = pgqueue.actor(add).send_many([(1,), [2, 3]])

        assert [message.args for message in sent] == [(1,), (2, 3)]
        assert broker.queues["default"].qsize() == 2

    def test_many_runs_can_be_delayed(self) -> None:
        [sent] = pgqueue.actor(add).send_many([(1,)], delay=timedelta(seconds=1))

        assert sent.queue_name == "default.DQ"

    @pytest.mark.parametrize("call", ["ab", 5, {"x": 1}])
    def test_the_arguments_of_many_runs_must_be_tuples(self, call: Any, broker: StubBroker) -> None:
        with pytest.raises(TypeError, match="send_many"):
            pgqueue.actor(add).send_many([(1,), call])
        assert broker.queues["default"].qsize() == 0

    def test_an_argument_that_can_t_be_encoded_is_refused_at_once(self, broker: StubBroker) -> None:
        with pytest.raises(TypeError):
            pgqueue.actor(add).send_with_options(args=(object(),))
        assert broker.queues["default"].qsize() == 0


class TestAsyncActors:
    @pytest.fixture
    def event_loop_thread(self) -> Iterator[EventLoopThread]:
        thread = EventLoopThread(logging.getLogger(__name__))
        thread.start(timeout=5)
        set_event_loop_thread(thread)
        yield thread
        set_event_loop_thread(None)
        thread.stop()
        thread.join()

    def test_a_coroutine_function_runs_on_the_event_loop_thread(
        self, event_loop_thread: EventLoopThread
    ) -> None:
        @pgqueue.actor
        async def add(x: int, y: int) -> int:
            return x + y

        assert add(1, 2) == 3
        assert add.actor_name == "add"

    def test_without_that_thread_a_call_fails(self) -> None:
        @pgqueue.actor
        async def add(x: int, y: int) -> int:
            return x + y

        with pytest.raises(RuntimeError, match="AsyncIO"):
            add(1, 2)
