"""Loads the SQL files: fills in the schema and repeats what is written for slot 0 for the slots in use."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from ..common import checked_schema, quoted

_HERE = Path(__file__).parent / "sql"

#: ``--[ each slot: UNION ALL`` … ``--]``: the text between is repeated, joined by what follows the colon; text behind
#: the closing mark (``--],``) stays.
_BLOCK = re.compile(
    r"^[ ]*--\[ each slot: (?P<joint>.+)\n(?P<body>(?:.*\n)*?)[ ]*--\](?P<rest>.*)$", re.MULTILINE
)

#: ``--[ with results`` … ``--]``: the text between is left out where a caller says that he needs no results.
_PART = re.compile(r"^[ ]*--\[ with (?P<name>\w+)\n(?P<body>(?:.*\n)*?)[ ]*--\]\n", re.MULTILINE)

#: For a transaction whose plans must not hang on statistics, which are worth nothing here. A table that must be read
#: nevertheless costs more than anything then, which the server takes for a reason to compile the plan, for seconds.
BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement with numbered parameters: the driver needs not read it at each execution, as it does long ones.

    Attributes:
      names: What the parameters are called, in the order of their numbers.
    """

    text: bytes
    names: tuple[str, ...]


class Placeholder(Enum):
    """How a driver marks a statement's parameters."""

    NAMED = "%({name})s"
    COLON = ":{name}"
    NUMBERED = "${number}"


class Statements:
    """The statements of one schema, by their path below ``sql/``: ``statements["messages/claim"]``."""

    def __init__(self, schema: str = "pgqueue") -> None:
        self.schema = checked_schema(schema)
        #: It as an identifier, and as the beginning of a string.
        self.identifier, self._beginning = _written(self.schema)
        self._texts: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._compiled: dict[tuple[str, tuple[int, ...], frozenset[str] | None], Compiled] = {}
        self._portable: dict[tuple[str, Placeholder], Compiled] = {}

    def __getitem__(self, name: str) -> bytes:
        """The text of ``sql/<name>.sql`` for this schema."""
        return self.for_slots(name, (0,))

    def for_slots(self, name: str, slots: Sequence[int]) -> bytes:
        """The text of ``sql/<name>.sql`` with the parts that are written for slot 0 repeated for ``slots``."""
        key = (name, tuple(slots))
        if key not in self._texts:
            self._texts[key] = self._fill_in(expand(_read(name), slots))
        return self._texts[key]

    def compiled(
        self, name: str, slots: Sequence[int] = (0,), *, parts: frozenset[str] | None = None
    ) -> Compiled:
        """The same as `for_slots`, for the statements that run all the time.

        Parameters:
          parts: The marked parts to keep; None for all.
        """
        key = (name, tuple(slots), parts)
        if key not in self._compiled:
            text = expand(keep_parts(_read(name), parts), slots)
            self._compiled[key] = _number(self._fill_in(text).decode())
        return self._compiled[key]

    def portable(self, name: str, placeholder: Placeholder) -> Compiled:
        """The text of ``sql/<name>.sql`` for a driver other than ours: every parameter is bound as text or NULL.

        The server turns the text into what the statement wants, so that nothing hangs on a driver's types.
        """
        key = (name, placeholder)
        if key not in self._portable:
            self._portable[key] = _mark(self[name].decode(), placeholder)
        return self._portable[key]

    def _fill_in(self, text: str) -> bytes:
        text = re.sub(r"'pgqueue\.", lambda _: f"{self._beginning}.", text)
        text = re.sub(r"\bpgqueue\.", lambda _: f"{self.identifier}.", text)
        return re.sub(r"(?<=\bSCHEMA IF EXISTS )pgqueue\b", lambda _: self.identifier, text).encode()


def _written(schema: str) -> tuple[str, str]:
    """A schema as an identifier, and as one in a string that is open, in letters that no driver has another use for.

    Drivers look for their placeholders everywhere: percent signs, colons, dollars.
    """
    if re.fullmatch(r"\w+", schema, re.ASCII):
        return quoted(schema), f"'{quoted(schema)}"
    return f"U&{_escaped(quoted(schema))}", f"U&'{_escaped(quoted(schema))}"


def _escaped(name: str) -> str:
    return re.sub(r"[^\w\"]", lambda letter: f"\\+{ord(letter[0]):06X}", name, flags=re.ASCII)


def _number(text: str) -> Compiled:
    text = re.sub(r"^ *--.*\n", "", text, flags=re.MULTILINE)
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    numbered = re.sub(r"%\((\w+)\)s", lambda parameter: f"${names.index(parameter[1]) + 1}", text)
    return Compiled(numbered.replace("%%", "%").encode(), tuple(names))


def _mark(text: str, placeholder: Placeholder) -> Compiled:
    text = re.sub(r"^ *--.*\n", "", text, flags=re.MULTILINE)
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))

    def cast(parameter: re.Match[str]) -> str:
        mark = placeholder.value.format(name=parameter["name"], number=names.index(parameter["name"]) + 1)
        as_text = f"CAST({mark} AS text)"
        return f"CAST({as_text} AS {parameter['type']})" if parameter["type"] else as_text

    marked = re.sub(r"%\((?P<name>\w+)\)s(?:::(?P<type>[a-z]+(?: precision)?(?:\[\])?))?", cast, text)
    return Compiled(marked.replace("%%", "%").encode(), tuple(names))


def keep_parts(text: str, parts: Collection[str] | None) -> str:
    """Leave out of ``text`` the marked parts that are not among ``parts``; None keeps all."""
    return _PART.sub(lambda part: part["body"] if parts is None or part["name"] in parts else "", text)


def expand(text: str, slots: Sequence[int]) -> str:
    """Repeat the marked blocks of ``text`` for each slot; a text without marks is for a single slot."""
    text = keep_parts(text, None)
    if not _BLOCK.search(text):
        return _for_slot(text, slots[0])

    def repeat(block: re.Match[str]) -> str:
        joint = f"{block['joint'].strip()}\n"
        parts = [_for_slot(block["body"], slot).rstrip("\n") for slot in slots]
        return f"\n{joint}".join(parts) + block["rest"]

    return _BLOCK.sub(repeat, text)


def _for_slot(text: str, slot: int) -> str:
    return re.sub(r"(?<=[a-z])_0(?=_|\b)", f"_{slot}", text).replace("/*slot*/0", str(slot))


@cache
def _read(name: str) -> str:
    return (_HERE / f"{name}.sql").read_text(encoding="utf-8")
