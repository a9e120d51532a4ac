"""The operating system's account that a bundled server runs as.

PostgreSQL refuses to run as root. For root the server runs as the owner of its directory, or as
``nobody``: no account is made, and no permission outside the server's own directory is changed.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..errors import EmbeddedServerError

if sys.platform != "win32":  # where `require_posix` keeps everybody away from here
    import pwd

__all__ = ["Account", "Identity"]

#: Existing accounts without rights, the first that this machine has is taken.
_UNPRIVILEGED = ("nobody", "daemon")


class Identity(TypedDict, total=False):
    """Arguments of `subprocess.Popen` that make a child run as somebody else."""

    user: int
    group: int
    extra_groups: Sequence[int]


@dataclass(frozen=True, slots=True)
class Account:
    """Who a server runs as."""

    uid: int
    gid: int

    @classmethod
    def for_directory(cls, directory: Path, owner: os.stat_result | None = None) -> "Account":
        """Choose the account for a server whose files lie in an existing directory.

        Parameters:
          owner: Whose the directory was found to be, when it was opened.

        Raises:
          EmbeddedServerError: The directory is another user's, or root has no account to step down to.
        """
        owner = directory.stat() if owner is None else owner
        if os.geteuid() != 0:
            if owner.st_uid != os.geteuid():
                message = (
                    f"{directory} belongs to user {owner.st_uid}, and this program runs as user {os.geteuid()}. "
                    "Name a directory of your own: PGQUEUE_URL=embedded:/directory"
                )
                raise EmbeddedServerError(message)
            return cls(os.geteuid(), os.getegid())
        if owner.st_uid != 0:
            return cls(owner.st_uid, owner.st_gid)
        return cls._unprivileged()

    @classmethod
    def _unprivileged(cls) -> "Account":
        for name in _UNPRIVILEGED:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        message = (
            "PostgreSQL refuses to run as root, and this machine has no account "
            f"{' or '.join(_UNPRIVILEGED)} to run it as. Name a directory that an ordinary user owns: "
            "PGQUEUE_URL=embedded:/directory"
        )
        raise EmbeddedServerError(message)

    @property
    def is_ours(self) -> bool:
        """Whether this process runs as that account already."""
        return self.uid == os.geteuid()

    def identity(self) -> Identity:
        """Return the arguments of `subprocess.Popen` that start a child as this account."""
        if self.is_ours:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Hand a file or directory that this process has made to the account."""
        if not self.is_ours:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, directory: str, *, descriptors: Sequence[int] = ()) -> bool:
        """Whether the account may look up and create files in a directory. Asks the kernel, not the mode bits."""
        look = ["/bin/sh", "-c", 'test -x "$1" && test -w "$1"', "sh", directory]
        outcome = subprocess.run(
            look, check=False, pass_fds=descriptors, cwd="/", stdin=subprocess.DEVNULL, **self.identity()
        )
        return outcome.returncode == 0
