"""The objects under one URL of a store: listed in a stable order, read whole or in part, written whole or not at all, removed.

Every request is tried again where its fault may pass. What the objects mean is left to whoever asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..shown import shown_place
from .connection import Connection
from .retries import ObjectChanged, ObjectMissing, PassingFault, StoreSettings, tried

PIECE = 8 << 20
"""Bytes of one request; larger objects are read piece by piece, each with tries of its own."""
_TAGS = ("ETag", "etag", "generation", "versionId", "version_id", "LastModified", "last_modified", "updated", "created")
"""What file systems call that which changes with an object, best first."""
UPLOAD_BYTES_PER_SECOND = 256 << 10
"""The slowest upload that is waited for: what an upload may take beside the timeout of one request."""


@dataclass(frozen=True)
class StoredObject:
    """One object as a listing shows it."""

    key: str
    """Behind the URL of the store, with forward slashes."""
    num_bytes: int
    tag: str
    """What tells that it is still the same: its ETag, generation or version, else its time; empty where the store has none."""


@dataclass(frozen=True)
class OddKey:
    """A key that no listing by folders leads to."""

    key: str
    detail: str


class ObjectStore:
    """The objects under a URL such as s3://bucket/prefix."""

    def __init__(self, url: str, settings: StoreSettings | None = None) -> None:
        """Note the place; nothing is connected yet.

        Args:
            url: of the prefix, or of one object.
            settings: how long to try; the environment's by default.
        """
        self.url = url.rstrip("/")
        self.place = shown_place(self.url)
        self.settings = settings or StoreSettings.from_environment()
        self.connection = Connection(self.url, self.settings)

    def _path(self, key: str) -> str:
        root = self.connection.opened()[1]
        return f"{root}/{key}" if key else root

    def shown(self, key: str) -> str:
        """Return an object's place for messages."""
        return f"{self.place}/{key}" if key else self.place

    def find(self, key: str) -> StoredObject | None:
        """Return an object; None where there is none of that key.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        try:
            facts = tried(self.shown(key), self.settings, lambda: self.connection.call("info", self._path(key)))
        except ObjectMissing:
            return None
        return None if facts.get("type") == "directory" else _stored(key, facts)

    def walk(self, prefix: str = "") -> Iterator[StoredObject | OddKey]:
        """Name every object under a prefix, depth first, one folder's keys in the order of their bytes; one folder in memory.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        pending: list[Iterator[StoredObject | OddKey | str]] = [iter(self._folder(prefix.rstrip("/")))]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
            elif isinstance(found, str):
                pending.append(iter(self._folder(found)))
            else:
                yield found

    def names(self) -> set[str]:
        """Return what lies directly under the URL, folders without a slash."""
        return {one if isinstance(one, str) else one.key.rstrip("/") for one in self._folder("")} - {""}

    def _folder(self, prefix: str) -> list[StoredObject | OddKey | str]:
        """Return what lies directly under a prefix, in order: objects, and folders as their prefixes."""
        path = self._path(prefix)
        try:
            # pages of a listing are many requests, so the object's whole patience is their limit
            seconds = max(self.settings.patience, self.settings.timeout)
            facts = tried(
                self.shown(prefix), self.settings, lambda: self.connection.call("ls", path, detail=True, seconds=seconds)
            )
        except ObjectMissing:
            return []
        found: list[tuple[bytes, StoredObject | OddKey | str]] = []
        start, root = len(path) + 1, len(self._path("")) + 1
        for one in facts:
            name, folder = str(one["name"]), one.get("type") == "directory"
            key, tail = name[root:].rstrip("/"), name[start:]
            order = tail.rstrip("/").encode("utf-8", "surrogateescape")
            if tail.strip("/"):
                if not name.endswith("/") or folder:  # else a folder as some programs leave it, an empty object
                    found.append((order, key if folder else _stored(key, one)))
            elif folder and name != path:
                found.append((order, OddKey(f"{key}//", "keys with an empty part between two slashes; rename them")))
            elif not folder and not prefix and name == path:  # the URL is that of one object
                found.append((order, _stored("", one)))
        return [item for _, item in sorted(found, key=lambda pair: pair[0])]

    def read(self, key: str, expected: StoredObject | None = None) -> bytes:
        """Return an object's bytes, all of one version of it.

        Args:
            key: of the object.
            expected: what a listing said of it; found anew where None.

        Raises:
            ObjectMissing: it is not there.
            ObjectChanged: it is not as expected any more, or changed while it was read.
            StoreError: the store does not answer, or refuses.
        """
        listed = expected if expected is not None else self.find(key)
        if listed is None:
            raise ObjectMissing(f"{self.shown(key)} is not there")
        data = b"".join(
            self.read_range(key, start, min(start + PIECE, listed.num_bytes)) for start in range(0, listed.num_bytes, PIECE)
        )
        now = self.find(key)
        if now is None or (now.num_bytes, now.tag) != (listed.num_bytes, listed.tag):
            told = "it is gone" if now is None else f"found {now.num_bytes} bytes, tag {now.tag}"
            raise ObjectChanged(f"{self.shown(key)}: listed as {listed.num_bytes} bytes, tag {listed.tag}; {told}")
        return data

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Return bytes start to end - 1 of an object; see `read` for errors."""
        path = self._path(key)

        def once() -> bytes:
            data = bytes(self.connection.call("cat_file", path, start=start, end=end))
            if len(data) != end - start:
                raise PassingFault(f"asked for bytes {start} to {end}, got {len(data):,} of {end - start:,}")
            return data

        return tried(self.shown(key), self.settings, once)

    def put_file(self, key: str, file: Path) -> StoredObject:
        """Write a local file under a key, whole or not at all: one put, or one multipart upload that its end makes visible.

        Raises:
            StoreError: the store does not answer, or refuses; what was under the key before is then still there.
        """
        size, path = file.stat().st_size, self._path(key)
        seconds = self.settings.timeout + size / UPLOAD_BYTES_PER_SECOND

        def once() -> StoredObject:
            self.connection.call("put_file", str(file), path, seconds=seconds)
            facts = self.connection.call("info", path)
            found = _stored(key, facts)
            if found.num_bytes != size:
                raise PassingFault(f"wrote {size:,} bytes, the store has {found.num_bytes:,}")
            return found

        return tried(self.shown(key), self.settings, once)

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        path = self._path(key)
        try:
            tried(self.shown(key), self.settings, lambda: self.connection.call("rm_file", path))
        except ObjectMissing:
            return


def _stored(key: str, facts: Mapping[str, Any]) -> StoredObject:
    """Return an object from what fsspec says of it."""
    for name in _TAGS:
        if facts.get(name):
            return StoredObject(key, int(facts.get("size") or 0), str(facts[name]).strip('"'))
    return StoredObject(key, int(facts.get("size") or 0), "")


def folder_name(url: str) -> str:
    """Return a name for local files that belong to a URL: the last part that is readable, and a hash of the whole."""
    last = "".join(char if char.isalnum() and char.isascii() else "-" for char in url.rstrip("/").rpartition("/")[2])
    return f"{last[:40] or 'store'}-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:12]}"
