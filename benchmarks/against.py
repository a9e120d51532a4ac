"""An earlier release beside this one: the same program, on the same server, in turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from .figures import Figure, Report, Target, interleaved
from .once import ROUNDS
from .releases import NoRelease, Release, newest_tag, unpack
from .server import Bench
from .workers import HOME

__all__ = ["measure"]

#: No slower than before, but for what a shared machine adds to a median.
_TARGETS = {"1/s": Target(reach=0.9, aim=1.0), "ms": Target(reach=1.1, aim=1.0, more_is_better=False)}


def measure(bench: Bench) -> Report:
    """Each figure of `ROUNDS`, of this release and of ``bench.against`` or the newest tag.

    Raises:
      NoRelease: There is none, or not the one that was named.
    """
    name = bench.against or newest_tag()
    if name is None:
        raise NoRelease(
            "there is no earlier release to compare with: no tag v… before this commit;"
            " name a tag, a commit or a wheel by --against"
        )
    report = Report()
    with tempfile.TemporaryDirectory(prefix="pgqueue-bench-") as directory:
        release = unpack(name, Path(directory))
        _add_benchmarks(release)
        for figure, (what, unit, _) in ROUNDS.items():
            ours, theirs, ratio = interleaved(
                bench.rounds,
                partial(_once, HOME, f"{__package__}.once", figure, bench),
                partial(_once, release.path, "benchmarks.once", figure, bench),
            )
            report.figures.append(
                Figure(
                    f"against.{figure}",
                    what,
                    ours,
                    unit,
                    theirs,
                    f"pgqueue {release.name}",
                    _TARGETS[unit],
                    ratio,
                )
            )
    return report


def _add_benchmarks(release: Release) -> None:
    """Put the present benchmarks beside it: what is compared is pgqueue, measured by one program."""
    shutil.copytree(
        Path(__file__).parent,
        release.path / "benchmarks",
        ignore=shutil.ignore_patterns("__pycache__", "peers", "*.html", "*.md"),
        dirs_exist_ok=True,
    )


def _once(path: Path, module: str, figure: str, bench: Bench) -> float:
    words = [figure, "--url", bench.url, "--scale", str(bench.scale), "--threads", str(bench.threads)]
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=path,
        env={**os.environ, "PYTHONPATH": str(path)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{figure} failed on {path}:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout)
    if not Path(found["pgqueue"]).is_relative_to(path):
        raise RuntimeError(f"{figure} ran with {found['pgqueue']}, not with what is in {path}")
    return float(found["value"])
