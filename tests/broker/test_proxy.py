from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from pgqueue import MessageProxy

from .middleware import message


class TestMessageProxy:
    def test_it_has_all_attributes_of_its_message(self) -> None:
        original = message(1)
        proxy = MessageProxy(original)

        for name, value in original.asdict().items():
            assert getattr(proxy, name) is value
        assert proxy.asdict() == original.asdict()
        assert proxy.encode() == original.encode()
        assert proxy.message_datetime == original.message_datetime
        with pytest.raises(AttributeError, match="colour"):
            _ = proxy.colour

    def test_it_shares_the_options(self) -> None:
        original = message()

        MessageProxy(original).options["retries"] = 1

        assert original.options == {"retries": 1}

    def test_its_message_can_be_exchanged(self) -> None:
        proxy = MessageProxy(message("encrypted"))

        proxy._message = proxy._message.copy(args=("plain",))

        assert proxy.args == ("plain",)
        assert proxy == proxy._message

    def test_it_can_be_failed(self) -> None:
        proxy = MessageProxy(message())
        assert not proxy.failed

        proxy.fail()

        assert proxy.failed

    def test_it_keeps_an_exception_until_told_otherwise(self) -> None:
        proxy = MessageProxy(message())
        error = ValueError()

        proxy.stuff_exception(error)
        assert proxy._exception is error
        proxy.clear_exception()
        assert proxy._exception is None

    def test_it_equals_its_message_and_other_proxies_of_it(self) -> None:
        original = message(1)
        proxy = MessageProxy(original)

        assert proxy == original
        assert original == proxy
        assert proxy == MessageProxy(original.copy())
        assert proxy != MessageProxy(message(1))
        assert proxy != "something else"

    def test_it_can_t_be_hashed(self) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(MessageProxy(message()))

    def test_ordering_it_is_deprecated(self) -> None:
        first, second = MessageProxy(message()), MessageProxy(message())

        with pytest.warns(DeprecationWarning, match="no order"):
            assert first < second
        with pytest.warns(DeprecationWarning, match="no order"):
            assert second < first

    def test_it_reads_as_its_message(self) -> None:
        original = message(1)

        assert str(MessageProxy(original)) == str(original)
        assert repr(original) in repr(MessageProxy(original))

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, lambda proxy: pickle.loads(pickle.dumps(proxy))]
    )
    def test_it_can_be_copied_and_pickled(self, duplicate: Callable[[MessageProxy], MessageProxy]) -> None:
        proxy = MessageProxy(message(1))
        proxy.fail()

        twin = duplicate(proxy)

        assert twin == proxy
        assert twin.failed
        assert twin.args == (1,)
