"""The suite of contract.py on every broker (the fixture ``broker`` is each in turn)."""

import pytest

pytest.register_assert_rewrite("tests.brokers.contract")

from .contract import *  # noqa: E402, F403
