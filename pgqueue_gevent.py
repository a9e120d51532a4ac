"""``pgqueue-gevent``: the command ``pgqueue`` with greenlets in the place of threads.

A module beside the package, because gevent has to replace the standard library's threads, locks and sockets before any
module of the package is imported and takes the real ones. For the same reason it replaces them when it is imported:
worker processes that are spawned import the main module again, and nothing else of it.
"""

import sys
import sysconfig
import warnings

__all__ = ["main"]


def _patch() -> None:
    try:
        from gevent import monkey  # noqa: PLC0415 - an optional dependency's edge
    except ImportError:
        sys.exit("pgqueue-gevent: gevent is not installed. Run: pip install 'pgqueue-engine[gevent]'")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        warnings.warn(
            "gevent needs the interpreter's lock, which this free-threaded build of Python then takes for everything.",
            RuntimeWarning,
            stacklevel=2,
        )
    monkey.patch_all()


_patch()

from pgqueue.cli import main  # noqa: E402 - not before the patch

if __name__ == "__main__":
    sys.exit(main())
