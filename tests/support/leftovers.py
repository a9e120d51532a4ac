"""What programs leave behind: processes and files."""

import os
from pathlib import Path

__all__ = ["processes_naming"]


def processes_naming(text: str) -> dict[int, str]:
    """The processes (but zombies) in whose command line or environment a text occurs, with their command lines.

    Reads /proc: of other users' processes it sees the command line only.
    """
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and int(directory.name) != os.getpid():
            command, environment = _read(directory / "cmdline"), _read(directory / "environ")
            if text in command or text in environment:
                found[int(directory.name)] = command.replace("\0", " ").strip()
    return found


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
