"""``pgqueue [worker] MODULE …``: run workers, with Dramatiq's arguments, exit codes and signals."""

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path

from ..common import getenv_int
from ..errors import BadSetting
from ..supervisor.log_format import LOG_FORMATS, TEXT
from ..supervisor.log_pipe import LogSink, configure_logging
from ..supervisor.pidfile import PidFile, PidFileError
from ..supervisor.reload import reexecute
from ..supervisor.settings import Settings
from ..supervisor.signals import SUPERVISOR_SIGNALS, ignore_requests
from ..supervisor.supervisor import Ending, Supervisor
from ..worker.settings import check

__all__ = ["add_arguments", "positive", "run"]

EXIT_USAGE = 2
EXIT_PID_FILE = 4

#: Milliseconds that --worker-fork-timeout may be.
SHORTEST_FORK_TIMEOUT_MS = 10
LONGEST_FORK_TIMEOUT_MS = 1_800_000

#: Set over a reload that a changed file has caused, so that the next run knows.
RELOADED = "PGQUEUE_RELOADED"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a worker."""
    parser.add_argument("broker", help="module of the broker: module, module:variable or module:function")
    parser.add_argument("modules", metavar="module", nargs="*", help="further modules to import")
    _add_workers(parser)
    _add_files(parser)
    _add_processes(parser)
    _add_limits(parser)
    _add_watching(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run workers until a signal ends them; return the exit code."""
    try:
        check()
        settings = _settings(arguments)
    except BadSetting as error:
        return _fail(str(error), EXIT_USAGE)
    problem = _problem(settings)
    if problem:
        return _fail(problem, EXIT_USAGE)
    try:
        pid_file = PidFile(settings.pid_file).claim() if settings.pid_file else None
    except PidFileError as error:
        return _fail(str(error), EXIT_PID_FILE)
    reloading = False
    try:
        ending = _supervise(settings)
        reloading = ending.reload
    finally:
        if pid_file is not None and not reloading:
            pid_file.release()
    if reloading:
        _reload(settings)
    ignore_requests()
    return ending.code


def _supervise(settings: Settings) -> Ending:
    try:
        sink = LogSink(settings.log_file)
    except OSError as error:
        return Ending(_fail(f"Can't write the log file '{settings.log_file}': {error.strerror}.", EXIT_USAGE))
    if not settings.skip_logging:
        configure_logging(settings.verbose, sink.text, settings.log_format)
    try:
        ending = Supervisor(settings, sink).run()
    finally:
        sink.close()
    if ending.failure and settings.log_file is not None:
        _fail(ending.failure, ending.code)
    return ending


def _reload(settings: Settings) -> None:
    """Run the command line anew; a signal that comes meanwhile waits for the new run's handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SUPERVISOR_SIGNALS)
    if settings.watch is not None:
        os.environ[RELOADED] = "1"
    reexecute()


def _fail(problem: str, code: int) -> int:
    print(f"pgqueue: {problem}", file=sys.stderr)
    return code


def _problem(settings: Settings) -> str:
    """Say what keeps these settings from working on this machine; empty if nothing does."""
    if not hasattr(signal, "pthread_sigmask"):
        return "Workers need a POSIX system (Linux, macOS, BSD)."
    if settings.skip_logging and settings.log_format != TEXT:
        return f"--skip-logging leaves logging to the program; leave it out, or --log-format {settings.log_format}."
    if settings.watch is not None and importlib.util.find_spec("watchdog") is None:
        return "--watch needs an extra: pip install 'pgqueue-engine[watch]'"
    return ""


def _settings(arguments: argparse.Namespace) -> Settings:
    watch = _path(arguments.watch)
    return Settings(
        broker=arguments.broker,
        modules=tuple(arguments.modules),
        path=(arguments.path,) if isinstance(arguments.path, str) else tuple(arguments.path),
        queues=None if arguments.queues is None else frozenset(arguments.queues),
        processes=arguments.processes,
        threads=arguments.threads,
        use_spawn=arguments.use_spawn,
        forks=tuple(arguments.forks),
        fork_timeout_ms=arguments.worker_fork_timeout,
        shutdown_timeout_ms=arguments.worker_shutdown_timeout,
        max_messages=_limit(arguments, "max_messages_per_process"),
        max_memory_mb=_limit(arguments, "max_memory_per_process"),
        pid_file=_path(arguments.pid_file),
        log_file=_path(arguments.log_file),
        log_format=arguments.log_format,
        skip_logging=arguments.skip_logging,
        verbose=arguments.verbose,
        watch=watch,
        watch_use_polling=arguments.watch_use_polling,
        watch_include=tuple(arguments.include_patterns),
        watch_exclude=tuple(arguments.exclude_patterns or ()),
        reloaded=os.environ.pop(RELOADED, None) is not None and watch is not None,
    )


def _path(given: str | None) -> Path | None:
    return None if given is None else Path(given)


def _limit(arguments: argparse.Namespace, name: str) -> int | None:
    """A limit of a process's life: from the command line, or from the environment."""
    given: int | None = getattr(arguments, name)
    if given is None and (given := getenv_int(f"pgqueue_{name}")) is not None and given < 1:
        raise BadSetting(f"Environment variable 'pgqueue_{name}' must be above 0, not {given}.")
    return given


# ── Arguments ─────────────────────────────────────────────────────────────────────────────────────


def _add_workers(parser: argparse.ArgumentParser) -> None:
    cpus = os.cpu_count() or 1
    parser.add_argument(
        "--processes",
        "-p",
        type=positive,
        default=cpus,
        metavar="N",
        help=f"worker processes (default: {cpus})",
    )
    parser.add_argument(
        "--threads",
        "-t",
        type=positive,
        default=8,
        metavar="N",
        help="worker threads in each process (default: 8)",
    )
    parser.add_argument(
        "--path",
        "-P",
        nargs="*",
        default=".",
        metavar="DIR",
        help="directories to import from (default: .)",
    )
    parser.add_argument(
        "--queues", "-Q", nargs="*", metavar="NAME", help="the only queues to serve (default: all)"
    )
    parser.add_argument("--verbose", "-v", action="count", default=0, help="log debug messages, too")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pid-file", metavar="PATH", help="write the main process's id here")
    parser.add_argument(
        "--log-file",
        metavar="PATH",
        help="append all output to this file (default: standard error)",
    )
    parser.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        default=TEXT,
        help="how log records are written: lines of text, or a JSON object a line (default: text)",
    )
    parser.add_argument(
        "--skip-logging", action="store_true", help="leave the configuration of logging to the program"
    )


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--use-spawn", action="store_true", help="start processes afresh instead of forking the main one"
    )
    parser.add_argument(
        "--fork-function",
        "-f",
        action="append",
        dest="forks",
        default=[],
        metavar="MODULE:FUNCTION",
        help="run a function in a process of its own; may be repeated",
    )
    parser.add_argument(
        "--worker-fork-timeout",
        type=_fork_timeout,
        default=30_000,
        metavar="MS",
        help="how long to wait for the workers before starting fork functions (default: 30000)",
    )
    parser.add_argument(
        "--worker-shutdown-timeout",
        type=positive,
        default=600_000,
        metavar="MS",
        help="how long running messages may take when workers stop (default: 600000)",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-messages-per-process",
        type=positive,
        metavar="N",
        help="replace a worker process after so many messages (default: $pgqueue_max_messages_per_process, or never)",
    )
    parser.add_argument(
        "--max-memory-per-process",
        type=positive,
        metavar="MB",
        help="replace a worker process that holds more memory after a message "
        "(default: $pgqueue_max_memory_per_process, or never)",
    )


def _add_watching(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", type=_directory, metavar="DIR", help="start anew when files below DIR change"
    )
    parser.add_argument(
        "--watch-use-polling",
        action="store_true",
        help="look for changes instead of being told by the system",
    )
    parser.add_argument(
        "--watch-include",
        "-i",
        action="append",
        dest="include_patterns",
        default=["**.py"],
        metavar="PATTERN",
        help="files that count, beside **.py; may be repeated",
    )
    parser.add_argument(
        "--watch-exclude",
        "-x",
        action="append",
        dest="exclude_patterns",
        metavar="PATTERN",
        help="files that don't count; may be repeated",
    )


def positive(text: str) -> int:
    """Read a number above 0 from a command line."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0.")
    return number


def _directory(text: str) -> str:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory '{text}'.")
    return text


def _fork_timeout(text: str) -> int:
    # These three texts are Dramatiq's, which programs compare.
    try:
        timeout = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("worker-fork-timeout be a number.") from None
    if timeout < SHORTEST_FORK_TIMEOUT_MS:
        raise argparse.ArgumentTypeError("worker-fork-timeout too small (minimum recommended: 10ms).")
    if timeout > LONGEST_FORK_TIMEOUT_MS:
        raise argparse.ArgumentTypeError("worker-fork-timeout too large (maximum: 30 minutes).")
    return timeout
