"""What C libraries write to standard error, heard while a block runs and kept off the console.

OpenCV, libpng and libtiff have no other way to speak. Plain JPEGs do without it (`jpeg`); what a complaint means is the
caller's business.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
import threading
from collections.abc import Iterator

_DECODERS = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Invalid SOS|Inconsistent progression|Unknown Adobe|Warning: unknown JFIF"
    rb"|Application transferred|\[ ?(?:WARN|ERROR|INFO|FATAL):|libpng (?:warning|error)|TIFF\w*(?:Open|Read|Fetch)|OpenCV\("
    rb"|OpenCV: FFMPEG:|tempfile\.tif: |_?TIFF\w+: |JPEG\w+: |LZW\w+: |ZIP\w+: "
)
"""How lines of libjpeg, libpng, libtiff and OpenCV begin."""
_MORE = re.compile(rb"\s|>|where|$")
"""How further lines of one OpenCV message begin."""


class Listener:
    """Hears what C libraries write to standard error while a block runs; other writers' lines are passed on afterwards.

    The file descriptor belongs to the whole process, so one block runs at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        with tempfile.TemporaryFile() as file:
            self._descriptor = os.dup(file.fileno())  # lives as long as the process
        self._pid = os.getpid()

    @contextlib.contextmanager
    def listen(self) -> Iterator[list[str]]:
        """Run a block; afterwards the yielded list holds the lines that libjpeg and OpenCV wrote during it."""
        heard: list[str] = []
        with self._lock:
            if self._pid != os.getpid():
                self._open()
            try:
                saved = os.dup(2)
            except OSError:  # a daemon without standard error: nothing is printed, nothing can be heard
                yield heard
                return
            try:
                os.dup2(self._descriptor, 2)
                yield heard
            finally:
                os.dup2(saved, 2)
                os.close(saved)
                self._collect(heard)

    def _collect(self, heard: list[str]) -> None:
        """Sort what was written into lines of the decoders and lines of others, and pass the others on."""
        descriptor = self._descriptor
        size = os.lseek(descriptor, 0, os.SEEK_CUR)
        if not size:
            return
        text = os.pread(descriptor, size, 0)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        for line in text.splitlines(keepends=True):
            if _DECODERS.match(line) or (heard and heard[-1].startswith("[") and _MORE.match(line)):
                heard.append(line.decode("utf-8", "replace").strip())
            else:
                os.write(2, line)


@functools.cache
def listener() -> Listener:
    """Return this process's one listener on standard error."""
    return Listener()
