"""A fault of the system is one line: the file, the error's name, and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from spherehead.manifests.faults import RESUME, at_path, os_error_line

ADVICE = {
    errno.ENOSPC: ("free some space", RESUME),
    errno.EDQUOT: ("quota", "free some space", RESUME),
    errno.EROFS: ("read-only", "choose a place that can be written"),
    errno.EACCES: ("give this user the right", "another place"),
    errno.EFBIG: ("ulimit -f", "shard_size", RESUME),
    errno.EIO: ("the system's log", RESUME),
    errno.EMFILE: ("ulimit -n", RESUME),
    errno.ENOMEM: ("--workers", RESUME),
    errno.ENAMETOOLONG: ("shorter path",),
}


@pytest.mark.parametrize("number", ADVICE, ids=errno.errorcode.get)
def test_a_fault_of_the_system_is_told_with_its_file_its_name_and_what_to_do(number: int) -> None:
    line = os_error_line(at_path(OSError(number, os.strerror(number)), Path("heads/train-000000.tar")))
    assert line.startswith(f"heads/train-000000.tar: {os.strerror(number)} ({errno.errorcode[number]}); ")
    assert all(words in line for words in ADVICE[number]) and "\n" not in line


def test_a_fault_without_known_advice_is_told_without_any() -> None:
    assert os_error_line(OSError(errno.ENOTTY, "odd", "place")) == "place: odd (ENOTTY)"
