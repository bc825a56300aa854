"""A finished data set to its object store: what changed is uploaded, `manifest.json` last, so that a set is whole or absent.

Each object appears whole under its own key. Objects that no record of this data set names are neither replaced nor removed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.stores.objects import ObjectStore, StoredObject
from ...manifests import store
from ...manifests.config import ConfigError
from ...manifests.parsing import parse_json
from ..building.folder import LOG, OWN_FILES, OWN_FOLDERS, REQUEST, RUN
from .place import Place, read_record, write_record

UPLOADS = 8
"""Objects that are uploaded at the same time."""
_SHARD = re.compile(r"[^/]+-\d{6,}\.tar")
OUTSIDE = frozenset({REQUEST, RUN, LOG})
"""Files that say how a set was built; a change of theirs leaves the set itself as it is."""


@dataclass
class Published:
    """What was done to a store."""

    uploaded: int = 0
    num_bytes: int = 0
    kept: int = 0
    """Objects that were there already."""
    removed: int = 0

    def line(self, place: Place) -> str:
        """Word it."""
        words = (
            f"{self.uploaded:,} objects ({self.num_bytes:,} bytes) uploaded, {self.kept:,} were there, {self.removed:,} removed"
        )
        return f"{place.name}: {words}"


@dataclass
class _Publishing:
    """One data set on its way to its store."""

    place: Place
    there: ObjectStore
    record: dict[str, Any]
    """Key -> [sha256, bytes, tag] of what was written."""
    found: dict[str, StoredObject]
    """What lies under the URL."""
    done: Published = field(default_factory=Published)

    def is_there(self, key: str, sha256: str, listed: dict[str, str]) -> bool:
        """Return whether the store has these bytes under a key: we wrote them, or the store's own manifest lists them."""
        found, known = self.found.get(key), self.record.get(key)
        if found is None:
            return False
        if known is not None:
            return bool(known == [sha256, found.num_bytes, found.tag])
        if listed.get(key) != sha256 or found.num_bytes != (self.place.folder / key).stat().st_size:
            return False
        self.record[key] = [sha256, found.num_bytes, found.tag]
        return True

    def put(self, key: str, sha256: str) -> None:
        """Upload one file and note it."""
        found = self.there.put_file(key, self.place.folder / key)
        self.note(key, sha256, found)

    def note(self, key: str, sha256: str, found: StoredObject) -> None:
        """Note an upload, so that it is not done again after a stop."""
        self.record[key] = [sha256, found.num_bytes, found.tag]
        self.done.uploaded += 1
        self.done.num_bytes += found.num_bytes
        write_record(self.place, self.record)

    def put_all(self, files: dict[str, str]) -> None:
        """Upload several files at a time; the first error ends it when the uploads under way are through."""
        with ThreadPoolExecutor(UPLOADS) as pool:
            waiting: dict[Future[StoredObject], str] = {
                pool.submit(self.there.put_file, key, self.place.folder / key): key for key in files
            }
            try:
                for future in as_completed(waiting):
                    self.note(waiting[future], files[waiting[future]], future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def remove(self, key: str) -> None:
        """Remove an object that our records name."""
        self.there.remove(key)
        self.record.pop(key, None)
        self.found.pop(key, None)
        write_record(self.place, self.record)


def publish(place: Place) -> Published:
    """Bring a store to what the folder holds; nothing is done where it holds that already.

    Raises:
        ConfigError: somebody else's object lies where a file of the set is to be written.
        ManifestError: the folder holds no finished set.
        StoreError: the store does not answer, or refuses; what was uploaded is noted, and the set is whole or absent there.
    """
    header = store.read_header(place.folder)
    there = ObjectStore(place.url)
    found = {one.key: one for one in there.walk() if isinstance(one, StoredObject)}
    work = _Publishing(place, there, read_record(place), found)
    own, listed = _own_keys(work)
    files = dict(_files(place.folder, header))
    foreign = sorted(key for key in files if key in found and key not in own)
    if foreign:
        raise ConfigError(
            f"{place.name} holds {', '.join(foreign[:5])}, which no record of this data set names, where a file of it is to be "
            "written; move it away and rerun the same command"
        )
    changed = {key: sha256 for key, sha256 in files.items() if not work.is_there(key, sha256, listed)}
    gone = sorted(key for key in found if key not in files and (key in work.record or (key in own and _SHARD.fullmatch(key))))
    work.done.kept = len(files) - len(changed)
    if REQUEST in changed:  # it names the shards that are about to be written
        work.put(REQUEST, changed.pop(REQUEST))
    if gone or set(changed) - OUTSIDE:
        if store.HEADER in found:
            work.remove(store.HEADER)
        last = changed.pop(store.HEADER, files[store.HEADER])
        work.put_all(changed)
        for key in gone:
            work.remove(key)
        work.done.removed = len(gone)
        work.put(store.HEADER, last)
    else:
        work.put_all(changed)
    write_record(place, work.record)
    return work.done


def _own_keys(work: _Publishing) -> tuple[set[str], dict[str, str]]:
    """Return the keys that records of this data set name, ours and the store's, and the sha256 of the shards it lists."""
    own, listed = set(work.record), dict[str, str]()
    if REQUEST in work.found or store.HEADER in work.found:
        own |= {key for key in work.found if key in OWN_FILES or (key.partition("/")[0] in OWN_FOLDERS and "/" in key)}
    with contextlib.suppress(ValueError, KeyError, TypeError):
        if REQUEST in work.found:
            own |= {name for name in map(str, parse_json(work.there.read(REQUEST)).get("shards", [])) if _SHARD.fullmatch(name)}
    with contextlib.suppress(store.ManifestError, ValueError):
        if store.HEADER in work.found:
            header = store.parse_header(parse_json(work.there.read(store.HEADER)), work.there.shown(store.HEADER))
            listed = {entry.name: entry.sha256 for entry in header.shards} if header.is_genuine else {}
            own |= {name for name in listed if _SHARD.fullmatch(name)}
    return own, listed


def _files(folder: Path, header: store.Header) -> Iterator[tuple[str, str]]:
    """Yield (key, sha256) of every file of a finished set; its log and its memory stay here."""
    yield from ((entry.name, entry.sha256) for entry in header.shards)
    for name in sorted(set(OWN_FILES) - {LOG}):
        if (folder / name).is_file():
            yield name, store.file_sha256(folder / name)
    for name in OWN_FOLDERS:
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and store.TEMPORARY not in path.name:
                yield path.relative_to(folder).as_posix(), store.file_sha256(path)
