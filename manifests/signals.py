"""A polite end: the first SIGINT or SIGTERM is a wish that is looked at between two pieces of work, the second is an order.

With a grace period the order follows by itself: first as an exception in the main thread, then, where even that does not
get through, as the end of the process. Whoever asks for one must be safe to kill.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""Time that work in hand is given to finish."""
_UNWIND_SECONDS = 2.5
"""Time from the exception to the end of the process."""
_RETRY_SECONDS = 0.01
"""Time after which an exception that would have been lost is tried again."""


class Interrupted(KeyboardInterrupt):
    """A signal asks to stop at once; not an `Exception`, so that nothing swallows it."""

    def __init__(self, signum: int) -> None:
        """Note which signal it was."""
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


def _is_lost(frame: FrameType | None) -> bool:
    """Return whether an exception raised in a frame is only reported: in finalisers and the garbage collector's callbacks."""
    callbacks = {code for callback in gc.callbacks if (code := getattr(callback, "__code__", None)) is not None}
    while frame is not None:
        if frame.f_code in callbacks or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


class StopSignals:
    """Turns the first SIGINT or SIGTERM into a wish to stop, and lets a second one through."""

    def __init__(self, grace: float = 0.0) -> None:
        """Expect no signal yet.

        Args:
            grace: seconds after the first signal until `Interrupted` is raised wherever the main thread is; 0 for never.
        """
        self.signum = 0
        """The signal that came, 0 for none."""
        self.at = 0.0
        self._grace = grace
        self._raised = False
        self._before: dict[int, Any] = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            raise Interrupted(signum)
        self.signum, self.at = signum, time.monotonic()
        if self._grace:
            signal.setitimer(signal.ITIMER_REAL, self._grace, _UNWIND_SECONDS)

    def _insist(self, signum: int, frame: FrameType | None) -> None:
        """Raise when the grace period is over; end the process when the exception did not lead out of the work."""
        if not self.signum:
            return
        if self._raised:
            os._exit(128 + self.signum)
        if _is_lost(frame) and time.monotonic() - self.at < self._grace + _UNWIND_SECONDS:
            signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS, _UNWIND_SECONDS)
            return
        self._raised = True
        raise Interrupted(self.signum)

    def __enter__(self) -> StopSignals:
        try:
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
            if self._grace:
                self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._insist)
        except ValueError:  # not the main thread: whoever runs us there deals with signals
            log.debug("signals are left alone outside the main thread")
        return self

    def __exit__(self, *_: object) -> None:
        if self._grace and self._before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def check(self) -> None:
        """Stop here where a signal came.

        Raises:
            Interrupted: one did.
        """
        if self.signum:
            raise Interrupted(self.signum)

    @property
    def overdue(self) -> bool:
        """Whether work in hand has had its time to finish."""
        return bool(self.signum) and time.monotonic() - self.at > GRACE_SECONDS
