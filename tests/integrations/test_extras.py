"""What is said where a framework isn't installed."""

import pytest

from tests.support.processes import Process


def test_opentelemetry_that_is_missing_is_named_with_its_extra() -> None:
    source = """
        import sys
        sys.modules["opentelemetry"] = None
        import pgqueue.middleware.opentelemetry
    """
    with Process.script(source) as program:
        assert program.wait() == 1
        assert "needs an extra: pip install 'pgqueue-engine[otel]'" in program.output


@pytest.mark.parametrize("name", ["django", "flask", "fastapi"])
def test_a_framework_that_is_missing_is_named_with_its_extra(name: str) -> None:
    source = f"""
        import sys
        sys.modules["{name}"] = None
        import pgqueue.integrations.{name}
    """
    with Process.script(source) as program:
        assert program.wait() == 1
        assert f"needs an extra: pip install 'pgqueue-engine[{name}]'" in program.output
