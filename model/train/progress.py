"""What a run tells while it goes: metrics as JSON lines and for TensorBoard, and one line of progress.

Nothing that is learned depends on it; only `metrics.jsonl` and TensorBoard's files hold a clock.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

METRICS = "metrics.jsonl"


class Metrics:
    """Lines of numbers in `metrics.jsonl`, a line each time; what a killed run wrote beyond its checkpoint is cut off."""

    def __init__(self, run: Path, images: int, tensorboard: bool) -> None:
        """Go on after the line of `images` pictures.

        Args:
            run: the run's folder.
            images: pictures shown so far; later lines are removed, because they come again.
            tensorboard: also write for TensorBoard, if its package is there.
        """
        self._path = run / METRICS
        _cut(self._path, images)
        self._file: IO[str] = self._path.open("a", encoding="utf-8")
        self._board: Any = _open_board(run / "tensorboard", images) if tensorboard else None

    def write(self, numbers: Mapping[str, float]) -> None:
        """Write one line; `images` is the axis of TensorBoard's curves."""
        self._file.write(json.dumps({name: round(value, 9) for name, value in numbers.items()}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, int(numbers["images"]))

    def picture(self, name: str, path: Path, images: int) -> None:
        """Show a PNG in TensorBoard."""
        if self._board is not None:
            import cv2

            picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
            if picture is not None:
                self._board.add_image(name, picture, images, dataformats="HWC")

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(run: Path) -> list[dict[str, float]]:
    """Return the lines of a run's metrics, oldest first; a last line that a kill cut short is left out."""
    path = run / METRICS
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _cut(path: Path, images: int) -> None:
    """Remove lines of more than `images` pictures, and a last line that is not whole."""
    if not path.is_file():
        return
    from ...manifests.store import write_bytes

    kept = [row for row in read_metrics(path.parent) if row.get("images", 0) <= images]
    write_bytes(path, "".join(json.dumps(row) + "\n" for row in kept).encode())


def _open_board(folder: Path, images: int) -> Any:
    """Return TensorBoard's writer, or None where the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=images + 1 if images else None)


class Stopwatch:
    """Where a run's seconds go."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Count the block's seconds under a name."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def take(self) -> dict[str, float]:
        """Return the seconds so far and begin anew."""
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds


class Line:
    """The progress line: rewritten in place on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, start: int, stream: IO[str] = sys.stderr, interval: float = 15.0) -> None:
        self._total, self._start, self._stream = total, start, stream
        self._begun = self._shown = time.monotonic()
        self._live = stream.isatty()
        self._interval = 0.5 if self._live else interval

    def show(self, images: int, numbers: Mapping[str, float], waiting: float, *, force: bool = False) -> None:
        """Say where the run is.

        Args:
            images: pictures shown.
            numbers: the newest means, of which a few are told.
            waiting: share of the time spent waiting for data.
            force: show it although the last one is recent.
        """
        now = time.monotonic()
        if not force and now - self._shown < self._interval:
            return
        self._shown = now
        rate = (images - self._start) / max(now - self._begun, 1e-9)
        left = (self._total - images) / rate if rate else float("inf")
        told = " ".join(f"{name} {numbers[name]:.3g}" for name in ("real_score", "fake_score") if name in numbers)
        text = (
            f"training {images:,}/{self._total:,} | {rate:.1f} images/s | ETA {clock(left)} | waiting for data {waiting:.1%}"
            + (f" | {told}" if told else "")
        )
        self._stream.write(f"\r\x1b[K{text}" if self._live else text + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line standing."""
        if self._live:
            self._stream.write("\n")


def clock(seconds: float) -> str:
    """Write seconds as hours:minutes:seconds; days where it takes days."""
    if seconds == float("inf"):
        return "unknown"
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    text = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} d {text}" if days else text
