"""How the pixels of one file are made, once they are asked for, with leave from the memory budget where they are many.

What a file's bytes say is `datasets.images`' business; what becomes of the pixels, `file_run`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ...datasets.arrays import Pixels
from ...datasets.images.decode import Decoded, DecodePolicy, decode, memory_needed
from ...datasets.sample import PhotoInfo

SMALL_PHOTO = 48 << 20
"""Bytes that decoding may take without leave from the memory budget."""


@dataclass(eq=False)
class Decoding:
    """The pixels of a file, when they are asked for.

    It knows nothing of the run: the run holds the photograph and the photograph holds this, and a circle would keep file and
    pixels in memory until the collector comes by, many files later.
    """

    data: bytes
    policy: DecodePolicy
    ask_memory: Callable[[int], None]
    seconds: dict[str, float]
    """Stage -> seconds spent; added to under "decode"."""
    _ready: tuple[Pixels, Pixels | None] | None = None

    def ahead(self) -> PhotoInfo:
        """Decode now and keep the pixels for the next call; returns what they say of the photograph.

        Raises:
            Drop: as `decode`, or the budget holds no room for the file.
        """
        decoded = self._decoded()
        self._ready = decoded.pixels, decoded.alpha
        return decoded.info

    def __call__(self) -> tuple[Pixels, Pixels | None]:
        """Return (H, W, 3) uint8 pixels, read-only, and (H, W) uint8 alpha where the file has one.

        Raises:
            Drop: as `ahead`.
        """
        ready, self._ready = self._ready, None
        if ready is None:
            decoded = self._decoded()
            ready = decoded.pixels, decoded.alpha
        return ready

    def _decoded(self) -> Decoded:
        started = time.perf_counter()
        needed = memory_needed(self.data, self.policy)
        if needed > SMALL_PHOTO:
            self.ask_memory(needed)
        decoded = decode(self.data, self.policy)
        decoded.pixels.flags.writeable = False
        spend(self.seconds, "decode", started)
        return decoded


def spend(seconds: dict[str, float], name: str, started: float) -> None:
    """Add the time since `started` to what a stage has taken."""
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
