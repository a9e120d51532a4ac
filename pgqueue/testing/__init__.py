"""For the tests of programs: what was sent is looked at, run step by step, let come due, and interrupted by crashes.

No threads, no waiting: what a test runs has run when the call returns. On `PostgresBroker` and `StubBroker`.
"""

from ._bench import Bench, CrashPoint, Ran, drain, inline
from ._looking import Enqueued, assert_enqueued, assert_not_enqueued, enqueued

__all__ = [
    "Bench",
    "CrashPoint",
    "Enqueued",
    "Ran",
    "assert_enqueued",
    "assert_not_enqueued",
    "drain",
    "enqueued",
    "inline",
]
