from __future__ import annotations

from pgqueue import get_logger


def test_a_logger_is_named_after_its_module() -> None:
    assert get_logger("app.jobs").name == "app.jobs"


def test_a_logger_may_have_a_name_within_the_module() -> None:
    assert get_logger("app.jobs", "add").name == "app.jobs.add"


def test_a_class_stands_for_its_name() -> None:
    class Component:
        pass

    assert get_logger("app.jobs", Component).name == "app.jobs.Component"
