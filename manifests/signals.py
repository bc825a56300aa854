"""A polite end: the first SIGINT or SIGTERM is a wish that is looked at between two pieces of work, the second is an order."""

from __future__ import annotations

import logging
import signal
import time
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

_GRACE_SECONDS = 10.0
"""Time that work in hand is given to finish."""


class StopSignals:
    """Turns the first SIGINT or SIGTERM into a wish to stop, and lets a second one through."""

    def __init__(self) -> None:
        """Expect no signal yet."""
        self.signum = 0
        """The signal that came, 0 for none."""
        self.at = 0.0
        self._before: dict[int, Any] = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            raise KeyboardInterrupt
        self.signum, self.at = signum, time.monotonic()

    def __enter__(self) -> StopSignals:
        try:
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        except ValueError:  # not the main thread: whoever runs us there deals with signals
            log.debug("signals are left alone outside the main thread")
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @property
    def overdue(self) -> bool:
        """Whether work in hand has had its time to finish."""
        return bool(self.signum) and time.monotonic() - self.at > _GRACE_SECONDS
