"""Text that is looked for in messages: how it may be spelled in their bytes.

The bytes of a message may be anything, so they are compared as ``encode(…, 'escape')`` writes them, in which every
byte sequence is plain text, and in lower case (letters beyond ASCII as they are). No pattern is made of the text, so
that nothing in it has a meaning of its own.
"""

import json
from string import ascii_lowercase, ascii_uppercase

from .arrays import PackedTexts, texts

#: Bytes of a message that are searched: a statement that unpacks many large ones whole would not end in time.
SEARCHED_BYTES = 65_536

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def spellings(text: str) -> list[str]:
    """How a text may stand in a message: as it is, or as JSON has it, with letters beyond ASCII or without."""
    plain = json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]
    return sorted({_escaped(spelling) for spelling in (text, *plain)})


def needles(text: str | None) -> PackedTexts:
    """The same as the parameter of a statement; None: nothing is looked for."""
    return texts([] if text is None else spellings(text))


def _escaped(text: str) -> str:
    """As PostgreSQL's ``encode(…, 'escape')`` writes its bytes, in lower case."""
    data = text.encode("utf-8", "replace")
    parts = ("\\\\" if byte == 0x5C else chr(byte) if 0 < byte < 0x80 else f"\\{byte:03o}" for byte in data)
    return "".join(parts).translate(_LOWER)
