"""Bytes of a data set wherever it lies: a local folder, or any URL that fsspec reads (http, s3, memory), by byte ranges.

What the bytes mean is left to `index` and `batch`. Open files and connections are made in the process that reads, and
never travel to another one.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast
from urllib.parse import quote

from ..shown import shown_place, split_query
from ..stores.connection import connect, is_store
from ..stores.retries import StoreSettings

__all__ = ("DataError", "LocalSource", "RemoteSource", "Source", "open_source", "shown_place", "split_query")

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_MAX_OPEN = 64
"""Files kept open in one process; opening one again costs a few microseconds."""
_PAUSES = (0.25, 1.0, 4.0)
"""Seconds to wait before each further try of a remote read."""


class DataError(ValueError):
    """A data set that cannot be streamed as asked; the message names the set, what is wrong and what to do."""


class Source(Protocol):
    """One data set's files."""

    place: str
    """The folder or URL, for messages."""
    remote: bool
    """Whether reads wait for a network, so that it pays to have several under way."""

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, or None where there is no such file."""

    def read(self, name: str, start: int, end: int) -> bytes:
        """Return bytes start to end - 1 of a file.

        Raises:
            DataError: the file cannot be read or is shorter.
        """

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading with seeks."""


def open_source(place: str | os.PathLike[str]) -> Source:
    """Return the files of a data set.

    Args:
        place: a folder, or a URL such as https://..., s3://bucket/set or memory://set; a web address may end in a query.
    """
    text = os.fspath(place)
    if text.startswith("file://"):
        return LocalSource(text.removeprefix("file://"))
    return RemoteSource(text) if "://" in text else LocalSource(text)


class LocalSource:
    """Files in a folder, read by position."""

    remote = False

    def __init__(self, place: str) -> None:
        self.place = str(Path(place))
        self._open: OrderedDict[str, int] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["place"])  # type: ignore[misc]

    def size(self, name: str) -> int | None:
        """See `Source.size`."""
        path = Path(self.place, name)
        return path.stat().st_size if path.is_file() else None

    def open(self, name: str) -> BinaryIO:
        """See `Source.open`."""
        return Path(self.place, name).open("rb")

    def read(self, name: str, start: int, end: int) -> bytes:
        """See `Source.read`."""
        parts: list[bytes] = []
        try:
            handle = self._handle(name)
            while start < end and (part := os.pread(handle, end - start, start)):
                parts.append(part)
                start += len(part)
        except OSError as error:
            raise DataError(f"cannot read {Path(self.place, name)}: {error}") from error
        if start < end:
            size = os.fstat(handle).st_size
            raise DataError(
                f"{Path(self.place, name)} ends at byte {size:,}, expected {end:,}; it was changed after it was built"
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _handle(self, name: str) -> int:
        if self._process != os.getpid():  # after a fork the parent's handles stay the parent's
            self._open, self._process = OrderedDict(), os.getpid()
        if name not in self._open:
            if len(self._open) >= _MAX_OPEN:
                os.close(self._open.popitem(last=False)[1])
            self._open[name] = os.open(Path(self.place, name), os.O_RDONLY)
        self._open.move_to_end(name)
        return self._open[name]


class RemoteSource:
    """Files behind a URL, read through fsspec in ranges, tried again where the network fails.

    A URL may end in a query, such as a signature that opens every file of the set: it follows each file's name, is shown in no
    message, and `http_proxy`, `https_proxy` and `no_proxy` are obeyed as curl obeys them.
    """

    remote = True

    def __init__(self, place: str) -> None:
        self._root, self._query = split_query(place)
        self.place = shown_place(place)
        self._system: Any = None
        self._process = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self._root + self._query}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["place"])  # type: ignore[misc]

    def _files(self) -> Any:
        """Return the file system of this process."""
        import fsspec

        if self._system is None or self._process != os.getpid():
            web: dict[str, Any] = {"client_kwargs": {"trust_env": True}, "encoded": bool(self._query)}
            options = {name: web for name in ("http", "https") if f"{name}://" in self._root}
            try:
                if is_store(self._root):
                    self._system, self._path = connect(self._root, StoreSettings.from_environment())
                else:
                    self._system, self._path = fsspec.core.url_to_fs(self._root, **options)
            except ImportError as error:
                raise ImportError(f"{self.place}: {error}; install it, for example pip install aiohttp or s3fs") from error
            except ValueError as error:
                raise DataError(f"{self.place}: {error}; give a folder or a URL that fsspec knows") from error
            self._process = os.getpid()
        return self._system

    def _url(self, name: str) -> str:
        """Return what the file system calls a file."""
        return f"{self._path}/{quote(name) if self._query else name}{self._query}"

    def size(self, name: str) -> int | None:
        """See `Source.size`."""
        system = self._files()

        def ask() -> int | None:
            try:
                size = system.size(self._url(name))
            except FileNotFoundError as error:  # http says so whatever went wrong
                if error.__cause__ is not None and getattr(error.__cause__, "status", 0) not in (404, 410):
                    raise OSError(str(error.__cause__)) from error
                return None
            if size is None:
                raise DataError(
                    f"{self.place}/{name}: the server does not tell the file's size; serve the set from another one"
                )
            return int(size)

        return self._try(name, ask)

    def open(self, name: str) -> BinaryIO:
        """See `Source.open`."""
        system = self._files()
        return cast(BinaryIO, self._try(name, lambda: system.open(self._url(name), "rb")))

    def read(self, name: str, start: int, end: int) -> bytes:
        """See `Source.read`."""
        system = self._files()

        def fetch() -> bytes:
            data = bytes(system.cat_file(self._url(name), start=start, end=end))
            if len(data) > end - start:
                raise DataError(
                    f"{self.place}/{name}: asked for {end - start:,} bytes, got {len(data):,}; this server knows no byte ranges"
                )
            if len(data) < end - start:
                raise OSError(f"asked for bytes {start} to {end}, got {len(data):,} of {end - start:,}")
            return data

        return self._try(name, fetch)

    def _try(self, name: str, work: Callable[[], _T]) -> _T:
        """Call `work`, and again after pauses where it fails for reasons that may pass."""
        for pause in (*_PAUSES, None):
            try:
                return work()
            except FileNotFoundError as error:
                raise DataError(f"{self.place}/{name} is not there") from error
            except (DataError, ImportError):
                raise
            except Exception as error:  # every file system has its own errors
                told = repr(error).replace(self._root, self.place).replace(self._query or "\n", "")
                if pause is None:
                    raise DataError(f"cannot read {self.place}/{name} in {len(_PAUSES) + 1} tries: {told}") from error
                _log.warning("reading %s/%s failed (%s), again in %.2f s", self.place, name, told, pause)
                time.sleep(pause)
        raise AssertionError("unreachable")
