"""When a build should stop by itself: nearly every file fails for one reason, or the store that they lie in is gone.

It only says why; stopping is the build's.
"""

from __future__ import annotations

from collections import Counter, deque

from .work import FileResult

WINDOW = 200
"""Files that are looked back at."""
LOST_STORE = 3
"""Files of one store in a row, beside one a worker, that may end without an answer of it."""


class AbortGuard:
    """Looks at the results of a run, one after the other."""

    def __init__(self, share: float, workers: int) -> None:
        """Begin a run.

        Args:
            share: of the last files that may fail alike; 1 or more never stops.
            workers: files that are read at the same time.
        """
        self._share, self.workers = share, workers
        self._last: deque[str] = deque(maxlen=WINDOW)
        self._unanswered = 0

    def note(self, result: FileResult, store: str = "") -> str:
        """Take one more result.

        Args:
            result: of a file.
            store: label of the file's source where all its files lie in one store; empty for any other.

        Returns:
            Why to stop; empty to go on.
        """
        self._last.append(result.reason if result.outcome == "failed" else "")
        silent = bool(store) and result.reason in ("store_unavailable", "store_denied")
        self._unanswered = self._unanswered + 1 if silent else 0
        if self._unanswered >= LOST_STORE + self.workers and self._share < 1:
            return (
                f"{self._unanswered} files in a row could not be read from {store} ({result.detail}); when the store answers "
                "again, rerun the same command to resume: nothing is lost"
            )
        if len(self._last) == WINDOW:
            reason, count = Counter(self._last).most_common(1)[0]
            if reason and count / WINDOW >= self._share:
                return (
                    f"{count} of the last {WINDOW} files failed with '{reason}' (last: {result.detail}); mend the cause "
                    f"and rerun the same command, with `retry --reason {reason}` for those that failed"
                )
        return ""
