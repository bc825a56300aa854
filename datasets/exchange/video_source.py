"""Films as sources: sharp frames that differ from each other, all of one person and one split.

`video:FILE,frames=24` opens one. Frames are chosen by their pixels alone, sharpness and how unlike they are; which side of a
head they show is found later, by the stages that any photograph goes through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...manifests.config import user_path
from ..arrays import Array, Pixels
from ..sample import Drop, Rights, SourceImage
from ..sources.base import Refused, Source, SourceError
from ..sources.folder import file_stamp, io_error

SCHEME = "video:"
THUMBNAIL, JUDGED = 16, 256
"""Pixels a side of what is compared, and of the longer side on which sharpness is judged."""
CANDIDATES = 4
"""Sharp frames that are compared for each one that is kept."""
ALIKE = 2.0
"""Root mean square difference of thumbnails, in grey levels, below which two frames show the same."""
MAX_FRAMES = 5_000


@dataclass
class _Reader:
    """A film that is read forwards; an earlier frame opens it anew."""

    path: str
    place: int = 0
    """Number of the frame that comes next."""
    capture: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, object]:
        """Travel to another process without the open film."""
        return {"path": self.path, "place": 0, "capture": None}

    def frames(self) -> Iterator[Pixels]:
        """Decode every frame from the start as (H, W, 3) uint8 BGR, turned upright."""
        capture = self._opened()
        try:
            while True:
                found, frame = capture.read()
                if not found:
                    return
                yield np.asarray(frame, dtype=np.uint8)
        finally:
            capture.release()

    def frame(self, number: int) -> Pixels | None:
        """Decode one frame; None where the film ends before it."""
        if self.capture is None or number < self.place:
            self.capture, self.place = self._opened(), 0
        while self.place < number:
            if not self.capture.grab():
                return None
            self.place += 1
        found, frame = self.capture.read()
        self.place += 1
        return np.asarray(frame, dtype=np.uint8) if found else None

    def _opened(self) -> Any:
        """Open the film.

        Raises:
            SourceError: OpenCV reads no film there.
        """
        capture = cv2.VideoCapture(self.path)
        if not capture.isOpened():
            raise SourceError(f"expected a film that OpenCV reads (mp4, webm, mov, avi) at {self.path!r}")
        return capture


class VideoSource(Source):
    """Frames of one film."""

    def __init__(self, path: Path, frames: int = 24, identity: str = "") -> None:
        """Open a film.

        Args:
            path: the file.
            frames: how many frames are taken at most.
            identity: key of the person; the file's name where empty.

        Raises:
            SourceError: there is no film.
        """
        if not 1 <= frames <= MAX_FRAMES:
            raise SourceError(f"expected 1 to {MAX_FRAMES:,} frames of a film, got {frames}")
        if not path.is_file():
            raise SourceError(f"expected a film at {str(path)!r}, no file is there")
        self.label, self.count, self.identity = path.name, frames, identity or f"film {path.name}"
        self._reader = _Reader(str(path.absolute()))
        self._stamp = file_stamp(path.stat())

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name the chosen frames in the order of time."""
        numbers = chosen(self._reader.frames(), self.count)
        if not numbers:
            yield Refused(self.label, self.label, "not_an_image", "no frame of the film could be decoded")
        rights = Rights(identity=self.identity, group=f"film {self.label}")
        for number in numbers:
            yield SourceImage(self.label, f"frame-{number:06d}.png", 0, self._stamp, rights)

    def read(self, image: SourceImage) -> bytes:
        """Decode one frame and return it as PNG, without loss."""
        try:
            stamp = file_stamp(os.stat(self._reader.path))  # noqa: PTH116 - one call
        except OSError as error:
            raise io_error(error) from error
        if image.stamp != stamp:
            raise Drop("changed_while_reading", f"listed as {image.stamp}, found {stamp} (size-mtime-inode)")
        try:
            frame = self._reader.frame(int(image.path.removeprefix("frame-").removesuffix(".png")))
        except SourceError as error:
            raise Drop("io_error", str(error)) from error
        if frame is None:
            raise Drop("truncated", "the film ends before this frame")
        done, data = cv2.imencode(".png", frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not done:
            raise Drop("not_an_image", "OpenCV could not encode this frame")
        return bytes(data)


def chosen(frames: Iterator[Pixels], count: int) -> list[int]:
    """Return the numbers of up to `count` frames: the sharpest of each stretch of time, then those most unlike each other.

    Args:
        frames: all frames of a film, BGR.
        count: most frames that are taken; fewer where the others show what these show.
    """
    sharp, small = list[float](), list[Array]()
    for frame in frames:
        factor = JUDGED / max(frame.shape[:2])
        reduced = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else frame
        sharp.append(float(cv2.Laplacian(cv2.cvtColor(reduced, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var()))
        small.append(cv2.resize(reduced, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.uint8))
    if not sharp:
        return []
    edges = np.linspace(0, len(sharp), min(len(sharp), CANDIDATES * count) + 1).round().astype(int)
    windows = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    candidates = [first + int(np.argmax(sharp[first:last])) for first, last in windows if last > first]
    looks = np.stack([small[number] for number in candidates]).reshape(len(candidates), -1).astype(np.float64)
    taken = [int(np.argmax([sharp[number] for number in candidates]))]
    nearest = _difference(looks, looks[taken[0]])
    while len(taken) < min(count, len(candidates)):
        index = int(np.argmax(nearest))
        if nearest[index] < ALIKE:
            break
        taken.append(index)
        nearest = np.minimum(nearest, _difference(looks, looks[index]))
    return sorted(candidates[index] for index in taken)


def _difference(looks: Array, one: Array) -> Array:
    """Return the (N,) root mean square differences of thumbnails from one of them, the change of brightness taken off."""
    error = looks - one
    return np.asarray(np.sqrt(np.square(error - error.mean(axis=1, keepdims=True)).mean(axis=1)))


def open_video(text: str) -> Source:
    """Open `video:FILE`, `video:FILE,frames=24` or `video:FILE,frames=24,identity=NAME`.

    Raises:
        SourceError: a setting is unknown, or there is no film.
    """
    path, *settings = text.removeprefix(SCHEME).split(",")
    values = {"frames": "24", "identity": ""}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in values:
            raise SourceError(f"video: expected frames=COUNT or identity=NAME, got {setting!r}")
        values[name] = value
    if not values["frames"].isdecimal():
        raise SourceError(f"video: expected a number of frames, got {values['frames']!r}")
    return VideoSource(user_path(path), int(values["frames"]), values["identity"])
