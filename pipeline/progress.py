"""Tells people and machines how a build is going: a live line, a line every half minute, a JSON-lines log.

What is to be done and what came of it is known to `build`; nothing here reaches a shard or a manifest.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

TOP_REASONS = 5
"""Reasons that a progress line names."""
OUTCOMES = ("kept", "dropped", "failed", "duplicate", "not_image")
"""What becomes of an input, in the order of tables."""


class Observer(Protocol):
    """What a build tells while it runs. All calls come from one thread; none may raise for want of an earlier one."""

    def started(self, total: int | None, todo: int | None) -> None:
        """A pass over the inputs begins.

        Args:
            total: inputs in all, None while they are still being listed.
            todo: those among them that need work (the others are answered by earlier runs), None where unknown.
        """

    def phase(self, name: str) -> None:
        """Another part of the build begins: such as "listing", "building", "packing", "verifying"."""

    def done(self, outcome: str, reason: str = "", seconds: Mapping[str, float] | None = None) -> None:
        """One input is finished.

        Args:
            outcome: kept, dropped, failed, duplicate or not_image.
            reason: code from datasets/reasons.py, empty for what was kept.
            seconds: time spent by stage.
        """

    def tick(self) -> None:
        """Nothing new, but time passed; the build calls it about once a second while it waits."""

    def message(self, text: str) -> None:
        """A sentence that a person should read, such as which back end `auto` took."""

    def finished(self, counts: Mapping[str, int], seconds: float) -> None:
        """The build came to its end: counts with at least the inputs by outcome, and wall-clock seconds."""

    def close(self) -> None:
        """Give the terminal or file back; called once, also after an exception."""


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


class Silent:
    """Says nothing."""

    def started(self, total: int | None, todo: int | None) -> None:
        """See Observer."""

    def phase(self, name: str) -> None:
        """See Observer."""

    def done(self, outcome: str, reason: str = "", seconds: Mapping[str, float] | None = None) -> None:
        """See Observer."""

    def tick(self) -> None:
        """See Observer."""

    def message(self, text: str) -> None:
        """See Observer."""

    def finished(self, counts: Mapping[str, int], seconds: float) -> None:
        """See Observer."""

    def close(self) -> None:
        """See Observer."""


class Several(Silent):
    """Passes every call on to several observers, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = tuple(observers)

    def started(self, total: int | None, todo: int | None) -> None:
        """See Observer."""
        for observer in self.observers:
            observer.started(total, todo)

    def phase(self, name: str) -> None:
        """See Observer."""
        for observer in self.observers:
            observer.phase(name)

    def done(self, outcome: str, reason: str = "", seconds: Mapping[str, float] | None = None) -> None:
        """See Observer."""
        for observer in self.observers:
            observer.done(outcome, reason, seconds)

    def tick(self) -> None:
        """See Observer."""
        for observer in self.observers:
            observer.tick()

    def message(self, text: str) -> None:
        """See Observer."""
        for observer in self.observers:
            observer.message(text)

    def finished(self, counts: Mapping[str, int], seconds: float) -> None:
        """See Observer."""
        for observer in self.observers:
            observer.finished(counts, seconds)

    def close(self) -> None:
        """See Observer."""
        for observer in self.observers:
            observer.close()


class Counting(Silent):
    """Keeps a tally and shows it when `interval` seconds passed since the last time; subclasses say what showing is."""

    def __init__(self, interval: float, now: Callable[[], float] = time.monotonic) -> None:
        self.tally = Tally(now)
        self.interval = interval
        self.shown = now()

    def show(self) -> None:
        """Bring the tally before the reader."""

    def started(self, total: int | None, todo: int | None) -> None:
        """See Observer."""
        self.tally.start(total, todo)

    def phase(self, name: str) -> None:
        """See Observer."""
        self.tally.name = name

    def done(self, outcome: str, reason: str = "", seconds: Mapping[str, float] | None = None) -> None:
        """See Observer."""
        self.tally.add(outcome, reason, seconds)
        self.tick()

    def tick(self) -> None:
        """See Observer."""
        now = self.tally.now()
        if now - self.shown >= self.interval:
            self.shown = now
            self.show()


class LineProgress(Counting):
    """One line every 30 seconds: for logs, pipes and CI."""

    def __init__(self, stream: IO[str], interval: float = 30.0, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(interval, now)
        self.stream = stream

    def _say(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()

    def show(self) -> None:
        """Write the line."""
        self._say(self.tally.line())

    def message(self, text: str) -> None:
        """See Observer."""
        self._say(text)

    def finished(self, counts: Mapping[str, int], seconds: float) -> None:
        """See Observer."""
        self._say(_closing(counts, seconds))


class TerminalProgress(Counting):
    """A live bar with rate, time left, reasons and the workers' memory, and a table of outcomes at the end."""

    def __init__(self, stream: IO[str], interval: float = 0.25, now: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(interval, now)
        self.console = Console(file=stream, highlight=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.live.start()
        self.memory, self.memory_read = "", -math.inf

    def show(self) -> None:
        """Redraw the two lines."""
        now = self.tally.now()
        if now - self.memory_read >= 2.0:
            self.memory, self.memory_read = _workers_memory(), now
        self.live.update(self._picture(), refresh=True)

    def _picture(self) -> Any:
        """Lay the tally out as two lines."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self.tally
        todo = tally.todo if tally.todo is not None else tally.total
        remaining = tally.remaining_seconds()
        top = Table.grid(padding=(0, 2))
        top.add_row(
            Text(tally.name, style="bold"),
            ProgressBar(total=todo or 1, completed=min(tally.count, todo or 1), width=24, pulse=not todo),
            Text(f"{tally.count:,}" + (f"/{todo:,}" if todo is not None else "")),
            Text(f"{tally.recent_rate():.1f}/s (mean {tally.mean_rate():.1f})", style="cyan"),
            Text(f"ETA {duration(remaining) if remaining is not None else '?'}"),
        )
        counts = "  ".join(f"{name} {count:,}" for name, count in sorted(tally.outcomes.items()))
        reasons = ", ".join(f"{name} {count:,}" for name, count in tally.top_reasons())
        below = "   ".join(part for part in (counts, reasons, self.memory) if part)
        return Group(top, Text(below, style="dim", overflow="ellipsis", no_wrap=True))

    def phase(self, name: str) -> None:
        """See Observer."""
        super().phase(name)
        self.show()

    def message(self, text: str) -> None:
        """See Observer."""
        self.console.print(text, markup=False)

    def finished(self, counts: Mapping[str, int], seconds: float) -> None:
        """See Observer."""
        from rich.table import Table

        self.live.stop()
        table = Table("outcome", "inputs", "most frequent reasons")
        from ..datasets.reasons import REASONS

        for name, count in _by_outcome(counts).items():
            near = [item for item in self.tally.reasons.most_common() if REASONS.get(item[0], ("",))[0] == name]
            table.add_row(name, f"{count:,}", ", ".join(f"{reason} {number:,}" for reason, number in near[:3]))
        self.console.print(table)
        self.console.print(_closing(counts, seconds), markup=False)

    def close(self) -> None:
        """See Observer."""
        self.live.stop()


class JsonLog(Counting):
    """Appends one JSON object a line to a file: events as they come, and the tally every few seconds."""

    def __init__(
        self,
        path: Path,
        interval: float = 10.0,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(interval, now)
        self.path, self.wall = path, wall
        self.file: IO[bytes] | None = None

    def _opened(self) -> IO[bytes]:
        """Open the file with the first event: a build that is refused leaves none behind."""
        if self.file is None:
            self.file = self.path.open("a+b")
            _end_broken_line(self.file)
        return self.file

    def _write(self, event: str, values: Mapping[str, Any]) -> None:
        line = json.dumps({"time": round(self.wall(), 3), "event": event, **values}, sort_keys=True)
        file = self._opened()
        file.write(line.encode() + b"\n")
        file.flush()

    def show(self) -> None:
        """Write the tally."""
        self._write("progress", self.tally.plain())

    def started(self, total: int | None, todo: int | None) -> None:
        """See Observer."""
        super().started(total, todo)
        self._write("started", {"total": total, "todo": todo})

    def phase(self, name: str) -> None:
        """See Observer."""
        super().phase(name)
        self._write("phase", {"phase": name})

    def message(self, text: str) -> None:
        """See Observer."""
        self._write("message", {"text": text})

    def finished(self, counts: Mapping[str, int], seconds: float) -> None:
        """See Observer."""
        self.show()
        self._write("finished", {"counts": dict(counts), "seconds": round(seconds, 3)})

    def close(self) -> None:
        """See Observer."""
        if self.file is not None:
            self.file.close()


def for_console(stream: IO[str]) -> Observer:
    """Return the live display on a terminal, the line every 30 seconds elsewhere."""
    return TerminalProgress(stream) if stream.isatty() else LineProgress(stream)


def _end_broken_line(file: IO[bytes]) -> None:
    """Close the half line that a killed run may have left, so that every later line parses."""
    if file.seek(0, 2):
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")


def _by_outcome(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in OUTCOMES if name in counts}


def _closing(counts: Mapping[str, int], seconds: float) -> str:
    """Word the end of a build."""
    outcomes = _by_outcome(counts)
    listed = ", ".join(f"{name} {count:,}" for name, count in outcomes.items())
    return f"{sum(outcomes.values()):,} inputs in {duration(seconds)}: {listed}"


def _workers_memory() -> str:
    """Word the number of child processes and the memory they hold, read from the operating system."""
    import psutil

    resident = []
    for child in psutil.Process().children():
        try:
            resident.append(child.memory_info().rss)
        except psutil.Error:  # it ended while we looked
            continue
    return f"{len(resident)} processes {size(sum(resident))}" if resident else ""
