"""What workers say of faults of their own processes, in the words of the doctor."""

from collections.abc import Mapping, Sequence

from ..storage.workers import TroubledWorker
from .found import Check
from .wording import more

#: What helps with what was met and is over: the page has a row for each.
_SEE_PAGE = (
    "the table of faults on the page Operating pgqueue says what each means; the worker's log has the lines"
)


def troubles(troubled: Sequence[TroubledWorker]) -> Check:
    """A duty that fails is a failure as long as it does; faults of the last minutes are warned of."""
    failing = [each for each in troubled if each.duties]
    if failing:
        first = failing[0]
        told = "; ".join(f"{name} fails: {error}" for name, error in first.duties.items())
        return Check("faults", "failure", f"duty_failed at {_name(first)}{_others(failing)}: {told}",
                     "mend what the error names; it is tried again each second")  # fmt: skip
    if troubled:
        first = troubled[0]
        found = f"{_name(first)}{_others(troubled)} met in the last five minutes: {_counted(first.recent)}"
        return Check("faults", "warning", found, _SEE_PAGE)
    return Check("faults", "ok", "no worker has met any in the last five minutes")


def _name(worker: TroubledWorker) -> str:
    return f"{worker.host}:{worker.pid}"


def _others(troubled: Sequence[TroubledWorker]) -> str:
    return f" (and {more(len(troubled) - 1, 'other')})" if len(troubled) > 1 else ""


def _counted(recent: Mapping[str, int]) -> str:
    often = sorted(recent.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{fault} {more(number, 'time')}" for fault, number in often)
