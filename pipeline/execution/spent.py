"""What the work of a running build takes: seconds by stage, files and memory, for `run.json`; none of it reaches the manifest.

What an estimate makes of it is `estimating.measured`'s business.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .work import FileResult


@dataclass
class Spent:
    """What a build has counted so far."""

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    """Of workers, by stage."""
    runs: Counter[str] = field(default_factory=Counter)
    """Files by stage."""
    worked: int = 0
    """Files."""
    kept: int = 0
    """Files with a head that may be packed."""
    opening: int = 0
    """Files for which a stage was opened."""
    opening_seconds: float = 0.0
    """Of workers, spent on those files."""
    peak_rss: int = 0
    workers: int = 0
    """At most, where the engine decided that."""

    def note(self, result: FileResult) -> None:
        """Count what came of a file."""
        self.worked += 1
        self.kept += any(status == "kept" for _, status, _ in result.heads)
        self.peak_rss = max(self.peak_rss, result.rss)
        for name, spent in result.seconds:
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self.runs[name] += 1
        if result.opens:
            self.opening += 1
            self.opening_seconds += sum(spent for _, spent in result.seconds)

    def as_plain(self, inputs: int, workers: int) -> dict[str, Any]:
        """Return the content of `run.json`.

        Args:
            inputs: of the whole build.
            workers: that were asked for.
        """
        stages = {name: {"seconds": round(spent, 3), "count": self.runs[name]} for name, spent in self.seconds.items()}
        return {
            "stages": stages,
            "opening": {"seconds": round(self.opening_seconds, 3), "count": self.opening},
            "wall_seconds": round(time.perf_counter() - self.started, 3),
            "workers": self.workers or workers,
            "inputs": inputs,
            "worked": self.worked,
            "peak_rss_bytes": self.peak_rss,
        }
