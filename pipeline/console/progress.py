"""Tells people and machines how a build is going: a live line, a line every half minute, a JSON-lines log.

What is to be done and what came of it is known to `build`, rates are counted in `tally`; nothing here decides any bytes.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from ...manifests.faults import at_path
from ...manifests.terminal import escaped
from .tally import Tally, duration, size

log = logging.getLogger(__name__)
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
    """Passes every call on to several observers, in order; one that cannot write any more is left out from then on."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = tuple(observers)

    def _each(self, call: Callable[[Observer], None]) -> None:
        for observer in self.observers:
            try:
                call(observer)
            except (OSError, ValueError) as error:  # a closed terminal, pipe or stream, or a full disk
                log.warning("progress is not shown any more: %s", error)
                self.observers = tuple(other for other in self.observers if other is not observer)

    def started(self, total: int | None, todo: int | None) -> None:
        """See Observer."""
        self._each(lambda observer: observer.started(total, todo))

    def phase(self, name: str) -> None:
        """See Observer."""
        self._each(lambda observer: observer.phase(name))

    def done(self, outcome: str, reason: str = "", seconds: Mapping[str, float] | None = None) -> None:
        """See Observer."""
        self._each(lambda observer: observer.done(outcome, reason, seconds))

    def tick(self) -> None:
        """See Observer."""
        self._each(lambda observer: observer.tick())

    def message(self, text: str) -> None:
        """See Observer."""
        self._each(lambda observer: observer.message(text))

    def finished(self, counts: Mapping[str, int], seconds: float) -> None:
        """See Observer."""
        self._each(lambda observer: observer.finished(counts, seconds))

    def close(self) -> None:
        """See Observer."""
        self._each(lambda observer: observer.close())


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
        self.stream.write(escaped(text.rstrip()) + "\n")
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
        self.console.print(escaped(text), markup=False)

    def finished(self, counts: Mapping[str, int], seconds: float) -> None:
        """See Observer."""
        from rich.table import Table

        self.live.stop()
        table = Table("outcome", "inputs", "most frequent reasons")
        from ...datasets.reasons import REASONS

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
            self.file = self.path.open("a+b", buffering=0)
            _end_broken_line(self.file)
        return self.file

    def _write(self, event: str, values: Mapping[str, Any]) -> None:
        rest = json.dumps({"time": round(self.wall(), 3), "event": event, **values}, sort_keys=True).encode() + b"\n"
        try:
            while rest:
                rest = rest[self._opened().write(rest) :]
        except OSError as error:
            raise at_path(error, self.path) from error

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


def for_console(stream: IO[str] | None) -> Observer:
    """Return the live display on a terminal, the line every 30 seconds elsewhere; nothing where standard error is closed."""
    if stream is None:
        return Silent()
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
