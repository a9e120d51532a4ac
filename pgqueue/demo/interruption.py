"""Signals that end the demo, at moments at which it can clean up behind itself."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

__all__ = ["Interruption"]

#: What a terminal, its closing and a service manager send.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Turns the first of the signals into an exception: KeyboardInterrupt for INT, else SystemExit(128 + signal).

    Further ones are ignored: what follows is cleaning up. Belongs into the main thread.

    Parameters:
      on_signal: Called at once, perhaps long before the exception can be raised.
    """

    def __init__(self, on_signal: Callable[[], None]) -> None:
        self._on_signal = on_signal
        self._holding = False
        self._received: signal.Signals | None = None

    def __enter__(self) -> Self:
        # What a parent has switched off (nohup, a shell's background job) stays so.
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the block come to its end before the exception is raised, in place of any that the block raises.

        For steps that start something: an exception between the start and our knowing of it would leave it behind.
        """
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._received is not None:
                raise _exception(self._received)

    def ignore(self) -> None:
        """Ignore signals from now on."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.ignore()
        self._received = signal.Signals(number)
        self._on_signal()
        if not self._holding:
            raise _exception(self._received)


def _exception(number: signal.Signals) -> BaseException:
    return KeyboardInterrupt() if number is signal.SIGINT else SystemExit(128 + number)
