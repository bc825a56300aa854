"""What a checkpoint may cost: steps, bytes and seconds, shared by everything that is built or read of one file.

Who spends them is left to `unpickle`, `rebuild`, `torch_files` and `convert`. A checkpoint of SphereHead's size, 350 MB, takes
50,000 steps, 350 MB of bytes and 0.5 s.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

_CHECK_EVERY = 4096
"""Steps between looks at the clock."""


class CheckpointError(ValueError):
    """A checkpoint that is damaged, asks for what is not rebuilt, or breaks a limit; the message says which and where."""


@dataclass(frozen=True)
class Limits:
    """What a checkpoint may ask for; the published ones stay far below."""

    file_bytes: int = 8 << 30
    """Size of the file."""
    steps: int = 600_000
    """Opcodes of all pickles in it, members of all containers that are made of others, and ten for each member of a zip."""
    built_bytes: int = 64 << 20
    """Bytes of texts that are made, hashed or compared, of bytes that are decoded, and of torch files inside, beside
    `built_share` of the file's size."""
    built_share: float = 4.0
    """See `built_bytes`: what a file has in itself is read about once, and twice where protocol 2 wrote bytes as text."""
    seconds: float = 8.0
    """Processor time of the reading thread, beside a second for every 20 MB of the file."""
    nesting: int = 256
    """Containers within containers."""
    stack: int = 200_000
    """Values that wait for their container."""
    text_bytes: int = 64 << 20
    """One text."""
    integer_bytes: int = 16
    """One whole number."""


class Budget:
    """What is left of the limits for one file.

    Args of the constructor:
        limits: what it may ask for.
        file_bytes: its size.
    """

    def __init__(self, limits: Limits, file_bytes: int = 0) -> None:
        self.limits, self.left = limits, limits.steps
        self.most_bytes = limits.built_bytes + int(limits.built_share * file_bytes)
        self.bytes_left, self.seconds = self.most_bytes, limits.seconds + file_bytes / 20e6
        self._begun, self._until_check = time.thread_time(), _CHECK_EVERY

    def spend(self, count: int) -> None:
        """Take steps.

        Raises:
            CheckpointError: there are no more.
        """
        self.left -= count
        if self.left < 0:
            raise CheckpointError(f"expected at most {self.limits.steps:,} steps to read the checkpoint, it asks for more")
        self._until_check -= 1
        if self._until_check <= 0:
            self.check_time()

    def take(self, num_bytes: int) -> None:
        """Take bytes that are built, copied, hashed or compared.

        Raises:
            CheckpointError: there are no more.
        """
        self.bytes_left -= num_bytes
        if self.bytes_left < 0:
            raise CheckpointError(
                f"expected at most {self.most_bytes:,} bytes of texts and data to build from the checkpoint, it asks for more"
            )

    def check_time(self) -> None:
        """Look at the clock.

        Raises:
            CheckpointError: the time is over.
        """
        self._until_check = _CHECK_EVERY
        if time.thread_time() - self._begun > self.seconds:
            raise CheckpointError(f"expected at most {self.seconds:.0f} s of work to read the checkpoint, it takes longer")


def shown(value: Any, most: int = 100) -> str:
    """Return a value of a file as a message may show it: in quotes, short, control characters and half characters escaped."""
    if isinstance(value, str):
        return repr(value[:most]) + ("..." if len(value) > most else "")
    if isinstance(value, int | float | None):
        return repr(value)
    return f"a {type(value).__name__}"
