"""Counts what a running build has done: outcomes, reasons, time by stage, and a rate that follows the recent past.

How that is shown is left to `progress`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

TOP_REASONS = 5
"""Reasons that a progress line names."""


@dataclass
class Tally:
    """Counts, and a rate that follows the recent past, from which lines and logs are made."""

    now: Callable[[], float] = time.monotonic
    """Clock in seconds."""
    memory_seconds: float = 20.0
    """Time constant of the recent rate: older than this counts for less than 1/e."""
    name: str = "building"
    total: int | None = None
    todo: int | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    """Seconds by stage, summed over workers."""
    begun: float = math.nan
    _events: float = 0.0
    _time: float = 0.0
    _last: float = math.nan

    def start(self, total: int | None, todo: int | None) -> None:
        """Begin to count a pass; the clock starts here."""
        self.total, self.todo = total, todo
        self.outcomes, self.reasons, self.seconds = Counter(), Counter(), Counter()
        self._events, self._time = 0.0, 0.0
        self.begun = self._last = self.now()

    def add(self, outcome: str, reason: str, seconds: Mapping[str, float] | None) -> None:
        """Count one finished input."""
        if math.isnan(self.begun):
            self.start(None, None)
        self._age()
        self._events += 1.0
        self.outcomes[outcome] += 1
        if reason:
            self.reasons[reason] += 1
        for stage, spent in (seconds or {}).items():
            self.seconds[stage] += spent  # type: ignore[assignment]  # a Counter adds floats as well

    def _age(self) -> None:
        """Let the past fade: events and the time they took decay alike, so their quotient has no bias at the start."""
        now = self.now()
        passed = max(0.0, now - self._last)
        keep = math.exp(-passed / self.memory_seconds)
        self._events *= keep
        self._time = self._time * keep + self.memory_seconds * (1.0 - keep)
        self._last = now

    @property
    def count(self) -> int:
        """Inputs finished in this pass."""
        return sum(self.outcomes.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the pass began."""
        return 0.0 if math.isnan(self.begun) else self.now() - self.begun

    def recent_rate(self) -> float:
        """Inputs a second, exponentially weighted over the last `memory_seconds`."""
        if not math.isnan(self._last):
            self._age()
        return self._events / self._time if self._time > 0 else 0.0

    def mean_rate(self) -> float:
        """Inputs a second since the pass began."""
        return self.count / self.elapsed if self.elapsed > 0 else 0.0

    def remaining_seconds(self) -> float | None:
        """Seconds to the end at the recent rate, None where it cannot be said."""
        rate, todo = self.recent_rate(), self.todo if self.todo is not None else self.total
        return None if todo is None or rate <= 0 else max(0, todo - self.count) / rate

    def line(self) -> str:
        """Word the state as one line of text."""
        todo = self.todo if self.todo is not None else self.total
        remaining = self.remaining_seconds()
        parts = [
            f"{self.name} {self.count:,}" + (f"/{todo:,}" if todo is not None else ""),
            f"{self.recent_rate():.1f}/s (mean {self.mean_rate():.1f}/s)",
            f"ETA {duration(remaining) if remaining is not None else '?'}",
            " ".join(f"{name} {count:,}" for name, count in sorted(self.outcomes.items())),
            ", ".join(f"{name} {count:,}" for name, count in self.top_reasons()),
        ]
        return " | ".join(part for part in parts if part)

    def top_reasons(self) -> list[tuple[str, int]]:
        """Return the most frequent reasons with their counts, ties by name."""
        return sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))[:TOP_REASONS]

    def plain(self) -> dict[str, Any]:
        """Return the state as JSON knows it."""
        remaining = self.remaining_seconds()
        return {
            "phase": self.name,
            "done": self.count,
            "todo": self.todo,
            "total": self.total,
            "outcomes": dict(sorted(self.outcomes.items())),
            "reasons": dict(sorted(self.reasons.items())),
            "stage_seconds": {name: round(spent, 3) for name, spent in sorted(self.seconds.items())},
            "rate": round(self.recent_rate(), 3),
            "mean_rate": round(self.mean_rate(), 3),
            "eta_seconds": None if remaining is None else round(remaining, 1),
        }


def duration(seconds: float) -> str:
    """Word a time span: 59s, 03:12, 2:03:12, 3d 04h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours == 0:
        return f"{minutes:02d}:{rest:02d}"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours < 48 else f"{hours // 24}d {hours % 24:02d}h"


def size(num_bytes: float) -> str:
    """Word a number of bytes: 512 B, 1.5 KiB, 2.0 GiB."""
    value = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
