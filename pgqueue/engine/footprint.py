"""How much memory the process holds."""

import os
import resource
import sys
from pathlib import Path


def resident_bytes() -> int:
    """The memory that this process holds; where the system only tells it, the most that it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
