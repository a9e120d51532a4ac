"""``pgqueue demo``: a real program on a real PostgreSQL, with one of its worker processes killed in mid-run.

`program` is what the workers run, `pages` what they fetch, `demo` the course of events, `report` what came of it.
"""

from .demo import MESSAGES, Settings, View, run_demo
from .report import Report

__all__ = ["MESSAGES", "Report", "Settings", "View", "run_demo"]
