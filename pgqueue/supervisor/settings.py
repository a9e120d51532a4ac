"""What the supervisor and its processes are told: the command line, checked and frozen."""

from dataclasses import dataclass
from pathlib import Path

from .log_format import TEXT

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a program of workers runs; goes to every process, so it must pickle.

    Parameters:
      broker: ``module`` or ``module:path.to.broker``.
      modules: Further modules to import after the broker's.
      path: Directories put before ``sys.path``.
      queues: The only queues to consume; None means all.
      forks: Functions (``module:name``), each run in a process of its own.
      fork_timeout_ms: How long workers may take to boot before the forks start without them.
      shutdown_timeout_ms: How long a worker may take over its running messages when it stops.
      max_messages: A worker process is replaced after so many messages; None for never.
      max_memory_mb: And when it holds more memory than that.
      log_format: How log records are written, one of ``LOG_FORMATS``.
      log_file: Where all output goes, appended; None means standard error.
      watch: Directory whose changes restart everything.
      reloaded: A change of the watched files has started this run; one that breaks it waits for the next.
    """

    broker: str
    modules: tuple[str, ...] = ()
    path: tuple[str, ...] = (".",)
    queues: frozenset[str] | None = None
    processes: int = 1
    threads: int = 8
    use_spawn: bool = False
    forks: tuple[str, ...] = ()
    fork_timeout_ms: int = 30_000
    shutdown_timeout_ms: int = 600_000
    max_messages: int | None = None
    max_memory_mb: int | None = None
    pid_file: Path | None = None
    log_file: Path | None = None
    log_format: str = TEXT
    skip_logging: bool = False
    verbose: int = 0
    watch: Path | None = None
    watch_use_polling: bool = False
    watch_include: tuple[str, ...] = ("**.py",)
    watch_exclude: tuple[str, ...] = ()
    reloaded: bool = False
