"""Where Dramatiq programs look for the watching of files; it lives in `pgqueue.supervisor.reload`."""

from .supervisor.reload import setup_file_watcher

__all__ = ["setup_file_watcher"]
