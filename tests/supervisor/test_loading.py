"""Finding modules, objects and brokers by name."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pgqueue.broker import Broker
from pgqueue.brokers.stub import StubBroker
from pgqueue.cli import import_broker, import_object
from pgqueue.errors import BrokerNotConfigured, DatabaseUnavailable
from pgqueue.supervisor.loading import explain

Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the source of a module ``subject``."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "subject", raising=False)

    def write(source: str) -> None:
        (tmp_path / "subject.py").write_text(source)

    return write


class TestObjects:
    def test_of_a_module_alone_there_is_no_object(self) -> None:
        module, found = import_object("os.path")
        assert module.__name__ in {"posixpath", "ntpath"}
        assert found is None

    def test_a_path_leads_through_attributes(self) -> None:
        module, found = import_object("os:path.sep")
        assert (module.__name__, found) == ("os", "/")

    @pytest.mark.parametrize("path", ["nothing", "path.nothing", ""])
    def test_a_missing_variable_is_named(self, path: str) -> None:
        with pytest.raises(ImportError, match=f"^Module 'os' does not define a '{path}' variable.$"):
            import_object(f"os:{path}")


class TestBrokers:
    def test_a_module_alone_means_the_broker_of_the_process(self, stub_broker: StubBroker) -> None:
        assert import_broker("os")[1] is stub_broker

    def test_a_variable_may_be_deep_inside(self, write: Write, stub_broker: StubBroker) -> None:
        write("from pgqueue.brokers.stub import StubBroker\nclass a: b = StubBroker()")
        module, broker = import_broker("subject:a.b")
        assert module.__name__ == "subject"
        assert broker is not stub_broker

    def test_a_function_is_called_once_and_sets_the_broker(
        self, write: Write, stub_broker: StubBroker, as_global_broker: Callable[[Broker], None]
    ) -> None:
        write(
            "import pgqueue\nfrom pgqueue.brokers.stub import StubBroker\ncalls = []\n"
            "def setup():\n    calls.append(1)\n    pgqueue.set_broker(StubBroker())"
        )
        module, broker = import_broker("subject:setup")
        as_global_broker(stub_broker)
        assert module.calls == [1]
        assert isinstance(broker, StubBroker)
        assert broker is not stub_broker

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(ImportError, match=r"^'os:sep' is not a Broker\.$"):
            import_broker("os:sep")


class TestExplanations:
    def explanation(self, value: str) -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it is explained
            import_broker(value)
        return explain(caught.value, value)

    @pytest.mark.parametrize("value", ["nosuch", "nosuch:broker", "os.nosuch", "nosuch.at.all"])
    def test_a_missing_module_needs_no_traceback(self, value: str) -> None:
        text = self.explanation(value)
        assert text.startswith(f"There is no module '{value.partition(':')[0]}'. Run from the directory")
        assert "\n" not in text

    @pytest.mark.parametrize("value", ["", ":", ":x", ".app", "app..mail:broker", "mail."])
    def test_what_is_no_name_of_a_module_needs_no_traceback_either(self, value: str) -> None:
        text = self.explanation(value)
        assert text.startswith(f"'{value}' names no module: write it as in an import, 'package.module'")
        assert "\n" not in text

    @pytest.mark.parametrize(("value", "module"), [("app.py", "app"), ("./mail/app.py", "mail.app")])
    def test_a_file_name_is_turned_into_the_module_that_was_meant(self, value: str, module: str) -> None:
        error = ModuleNotFoundError(f"No module named {value!r}", name=value)
        assert explain(error, value).endswith(f"write it as in an import, '{module}'.")

    def test_a_module_missing_inside_the_module_is_shown_where_it_is_imported(self, write: Write) -> None:
        write("import nosuch_either")
        text = self.explanation("subject")
        assert text.startswith("Module 'subject' can't be imported:\n")
        assert 'subject.py", line 1, in <module>' in text
        assert "No module named 'nosuch_either'" in text
        assert "importlib" not in text
        assert "loading.py" not in text

    def test_a_syntax_error_is_shown_with_its_line(self, write: Write) -> None:
        write("one two three")
        text = self.explanation("subject")
        assert "one two three" in text
        assert "SyntaxError" in text

    @pytest.mark.parametrize("error", [BrokerNotConfigured(), DatabaseUnavailable("No\n  server.")])
    def test_errors_that_say_what_to_do_stand_alone(self, error: Exception) -> None:
        text = explain(error, "subject")
        assert "\n" not in text
        assert text == " ".join(str(error).split())
