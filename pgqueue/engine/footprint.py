"""How much memory the process holds."""

import os
import sys
from pathlib import Path


def resident_bytes() -> int:
    """The memory that this process holds, or the most that it ever held; 0 where the system tells neither."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        try:
            import resource  # noqa: PLC0415  # Windows has none
        except ImportError:
            return 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
