"""The process that stands between a bundled server and its users. Run as a script, never imported.

It starts PostgreSQL, or takes over one whose keeper was killed, waits until no process holds the lock
``users`` any more, stops the server and ends. It belongs to nobody: whoever started it may be killed.
If the server dies while there are users, it is started again.

Started by root it becomes the server's account before it touches a file: that account may write all of them, and
could have root follow its links or signal any process.

It must start in milliseconds and keep little memory, so it uses the standard library alone; its order
comes as JSON in the first argument (see `server`).
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

#: A server that ended sooner than this after its start, in seconds, is not started again.
SHORT_LIFE_S = 5.0

#: Seconds to wait for another process's passing look at a lock.
LOOK_S = 1.0

#: Seconds for a shutdown that writes everything out; then it is cut short, and the next start recovers.
SHUTDOWN_S = 60.0


class Keeper:
    """One server's keeper.

    Parameters:
      order: ``locks``, ``data``, ``log``, ``command``, ``identity``, ``environment``, ``descriptors``,
        ``remove`` (folders to delete in the end), ``remove_home`` (the server's own, or null) and ``stop_signals``.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.data = Path(order["data"])
        self.locks = Path(order["locks"])
        self.process: subprocess.Popen[bytes] | None = None
        self.started = time.monotonic()
        self.stopping = False
        # A stop must not slip in between the decision to start the server and the start.
        self.gate = threading.RLock()

    def run(self) -> None:
        """Keep the server until it has ended for good."""
        lock = take(self.locks / "keeper")
        if not lock:
            return
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())  # for people; programs look at the lock alone
        # From here on whoever sees the server running may tell this process to end it.
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        if is_free(self.locks / "server"):
            self.start()
        ready = self.wait_until_ready()
        let_the_starter_go()
        if ready:
            threading.Thread(target=self.stop_when_unused, daemon=True).start()
            self.stay_until_the_end()
        self.remove(everything=ready)

    def start(self) -> None:
        """Start the server; it and all its processes hold the lock ``server`` from then on."""
        lock = 0 if self.stopping else take(self.locks / "server")
        if not lock:
            return
        self.started = time.monotonic()
        with Path(self.order["log"]).open("ab") as log:
            self.process = subprocess.Popen(
                self.order["command"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.order["environment"],
                cwd="/",
                umask=0o077,
                pass_fds=[lock, *self.order["descriptors"]],
                start_new_session=True,
            )
        os.close(lock)

    def wait_until_ready(self) -> bool:
        """Wait until a server that was started here answers; return False if it ends instead."""
        while self.process is not None and not self.is_ready():
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def remove(self, *, everything: bool) -> None:
        """Delete what was promised; after a failed start the server's own directory still has to tell why."""
        for path in self.order["remove"]:
            shutil.rmtree(path, ignore_errors=True)
        if everything and self.order["remove_home"] is not None:
            # Not the path itself, for the account may have no way there.
            for path in self.locks.parent.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            remove_empty(self.order["remove_home"])

    def is_ready(self) -> bool:
        """Whether the server says in its pid file that it takes connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if self.process is None or not lines:
            return False
        return lines[0] == str(self.process.pid) and lines[-1].strip() == "ready"

    def stay_until_the_end(self) -> None:
        """Wait for the server's end, and start it again if that was not its time."""
        while True:
            wait_until_free(self.locks / "server")
            if self.process is not None:
                self.process.wait()
            with self.gate:
                if self.stopping or time.monotonic() - self.started < SHORT_LIFE_S:
                    return
                self.start()

    def stop_when_unused(self) -> None:
        """Wait for the last user's end; new users wait at the lock until this process has ended, too."""
        wait_until_free(self.locks / "users", keep=True)
        self.stop()

    def stop(self) -> None:
        """Shut the server down, politely first."""
        with self.gate:
            self.stopping = True
            for name in self.order["stop_signals"]:
                if self.send(signal.Signals[name]):
                    return

    def pid(self) -> int:
        """Return the server's process id; that of one taken over is in its own file."""
        if self.process is not None:
            return self.process.pid
        pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        if not works_in(pid, self.data):
            message = f"{self.data}/postmaster.pid names the process {pid}, which is not its server"
            raise ValueError(message)
        return pid

    def send(self, number: signal.Signals) -> bool:
        """Send the server a signal; return whether it has ended thereupon."""
        try:
            os.kill(self.pid(), number)
        except (OSError, ValueError):
            return False
        deadline = time.monotonic() + SHUTDOWN_S
        while not is_free(self.locks / "server"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def works_in(pid: int, data: Path) -> bool:
    """Whether a process is the server on these data; where the system doesn't tell, whether it may be."""
    if pid <= 1:
        return False
    try:
        return os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), data.stat())
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    except PermissionError:
        return True  # a stranger, if the system is strict: the kernel decides whether we may signal it


def let_the_starter_go() -> None:
    """Close the pipe at whose other end the starter waits."""
    silence(1)


def silence(descriptor: int) -> None:
    """Have nothing come of what is written to a descriptor."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def take(path: Path) -> int:
    """Take a lock alone; return its descriptor, or 0 if another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOOK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return 0
            time.sleep(0.005)
        else:
            return descriptor


def is_free(path: Path) -> bool:
    """Whether nobody holds a lock alone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def wait_until_free(path: Path, *, keep: bool = False) -> None:
    """Wait until nobody holds a lock in any way; keep it then until this process ends, if asked to."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if not keep:
        os.close(descriptor)


def step_down(identity: dict[str, Any], *, remove_home: str | None) -> None:
    """Be the server's account from now on, for good.

    That account can't remove a directory of a temporary server out of another one of root's. A process of root's that
    does nothing else waits for it to be empty.
    """
    if remove_home is not None and (child := os.fork()):
        silence(1)
        silence(2)
        os.waitpid(child, 0)
        remove_empty(remove_home)
        os._exit(0)
    os.setgroups(identity["extra_groups"])
    os.setgid(identity["group"])
    os.setuid(identity["user"])


def remove_empty(directory: str) -> None:
    """Remove a directory if nothing is left in it."""
    with contextlib.suppress(OSError):
        Path(directory).rmdir()


def main() -> None:
    """Leave the starter's family, so that nobody has to wait for this process, and keep the server."""
    order = json.loads(sys.argv[1])
    if os.fork():
        os._exit(0)
    os.chdir("/")
    if order["identity"]:
        step_down(order["identity"], remove_home=order["remove_home"])
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 2)
    os.close(log)
    try:
        Keeper(order).run()
    except Exception:
        traceback.print_exc()
        raise


if __name__ == "__main__":
    main()
