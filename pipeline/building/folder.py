"""Whose files lie in `--out`: which names this program's records give to a build, and what it must never touch.

A build replaces and removes what its own records name and nothing else: `build.json`, the header, and the memory in `.state`.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.sources.names import native
from ...manifests import store
from ...manifests.config import ConfigError, user_path
from ...manifests.faults import printable
from ...manifests.parsing import read_json
from .inputs import is_path
from .parts import PARTS, parts_in

STATE = ".state"
"""Folder in the data set with what only builds need: it may be deleted, at the cost of doing all work again."""
REQUEST = "build.json"
QUARANTINE = "quarantine"
TOMBSTONES = "tombstones.json"
RUN = "run.json"
LOG = "log.jsonl"
OWN_FILES = (store.HEADER, store.MANIFEST, store.ORIGINS, REQUEST, TOMBSTONES, RUN, LOG)
OWN_FOLDERS = (QUARANTINE, "report")
_SHOWN = 5
_SHARD = re.compile(r"[^/]+-\d{6,}\.tar")


def check_folder(out: Path, update: bool) -> None:
    """Refuse a folder that somebody else's files lie in.

    Args:
        out: where a build is to write; it need not exist.
        update: let a build into a folder with other files, which it leaves alone.

    Raises:
        ConfigError: with the names, and what to do.
    """
    if not out.is_dir() or is_own(out):
        return
    there = sorted(name for name in os.listdir(out) if name[0] != "." and name != "lost+found")  # noqa: PTH208 - names only
    if parts_in(out) and PARTS in there:  # a part's own folder, and one that is named as one, hold none
        there.remove(PARTS)
    clashing = [name for name in there if name in (*OWN_FILES, *OWN_FOLDERS)]
    if clashing:
        raise ConfigError(
            f"{out} holds {_listed(clashing)} but no data set of this program, and a build would write over that; "
            "choose another --out, or move it away"
        )
    if there and not update:
        raise ConfigError(
            f"{out} is not empty and holds no data set: {_listed(there)}; choose another --out, or pass --update to build "
            "beside these files, which are left alone"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(map(printable, names[:_SHOWN])) + more


def is_own(out: Path) -> bool:
    """Return whether a folder holds the records of a build: its request, its header or its memory."""
    if (out / STATE / "state.sqlite").is_file():
        return True
    with contextlib.suppress(ConfigError):
        if read_request(out):
            return True
    with contextlib.suppress(store.ManifestError, OSError):
        store.read_header(out)
        return True
    return False


def read_request(out: Path) -> dict[str, Any]:
    """Return what a folder was asked to be, empty where there is no record of it.

    Raises:
        ConfigError: the record is damaged.
    """
    path = out / REQUEST
    if not path.is_file():
        return {}
    try:
        plain = read_json(path)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); pass --update to take the present settings") from error
    if not isinstance(plain, dict) or not isinstance(plain.get("recipe"), dict) or not isinstance(plain.get("sources"), list):
        raise ConfigError(
            f"{path} is damaged: expected a mapping with recipe and sources; pass --update to take the present settings"
        )
    return plain


def own_shards(out: Path) -> set[str]:
    """Return the names of shards that the request and the header of a folder speak of."""
    names: set[str] = set()
    with contextlib.suppress(ConfigError):
        listed = read_request(out).get("shards", [])
        names.update(map(str, listed if isinstance(listed, list) else ()))
    with contextlib.suppress(store.ManifestError, OSError):
        names.update(entry.name for entry in store.read_header(out).shards)
    return {name for name in names if _SHARD.fullmatch(name)}


def claim_shards(out: Path, planned: Sequence[str], known: Iterable[str]) -> None:
    """Put the names of shards that are about to be written on record, outside of `.state`.

    Args:
        out: the data set.
        planned: names of all its shards to be.
        known: names that the build's memory speaks of.

    Raises:
        ConfigError: a file that no record names has the name of a shard.
    """
    names = own_shards(out) | set(known)
    foreign = [name for name in planned if name not in names and os.path.lexists(out / name)]
    if foreign:
        raise ConfigError(
            f"{out} holds {_listed(foreign)}, which no record of this data set names, where a shard is to be written; "
            "move it away and rerun the same command"
        )
    plain = read_request(out)
    together = sorted(names | set(planned))
    if plain and plain.get("shards") != together:
        store.write_json(out / REQUEST, {**plain, "shards": together})


def sweep(out: Path, shards: Iterable[str]) -> None:
    """Remove files that a killed build left unfinished."""
    owned = {*OWN_FILES, *shards}
    for path in sorted(out.glob(f"*{store.TEMPORARY}*")):
        if store.is_unfinished(path.name, owned) and path.is_file():
            path.unlink()


def check_places(texts: Sequence[str], out: Path) -> None:
    """Refuse sources that a build would read while it writes them, or that cannot be read twice.

    Raises:
        ConfigError: a source is `out`, lies inside it, or is a pipe, socket or device.
    """
    target = out.resolve()
    for text in texts:
        if not is_path(text):
            continue
        path = user_path(native(text))
        mode = path.stat().st_mode if path.exists() else 0
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise ConfigError(f"{text!r} is a pipe, socket or device; save it as a file or folder first")
        place = path.resolve()
        if place == target or target in place.parents:
            what = "is --out itself" if place == target else f"lies inside --out {str(out)!r}"
            raise ConfigError(f"the source {text!r} {what}; build into another folder")


@dataclass
class Tombstones:
    """What was taken down: it stays out of every later build of this folder."""

    sha256: dict[str, dict[str, Any]] = field(default_factory=dict)
    """sha256 of a file -> note with the ids of its samples."""
    ids: dict[str, dict[str, Any]] = field(default_factory=dict)
    """id of a sample -> note with the split whose shards keep an empty place for it."""

    @classmethod
    def read(cls, out: Path) -> Tombstones:
        """Read a data set's tombstones; none where there is no file.

        Raises:
            ConfigError: the file is damaged: without it, what was taken down would come back.
        """
        path = out / TOMBSTONES
        if not path.is_file():
            return cls()
        try:
            plain = read_json(path)
            notes = [plain["sha256"], plain["ids"]]
            if not all(isinstance(note, dict) for part in notes for note in (part, *part.values())):
                raise TypeError("expected notes by name")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path} is damaged ({error}): what was taken down would come back; restore the file from a copy"
            ) from error
        return cls(*notes)

    def write(self, out: Path) -> None:
        """Write the file."""
        store.write_json(out / TOMBSTONES, {"sha256": self.sha256, "ids": self.ids})

    def take_in(self, other: Tombstones) -> bool:
        """Add what another folder has taken down, and return whether any of it is new; notes of one's own stay."""
        before = len(self.sha256) + len(self.ids)
        self.sha256 = {**other.sha256, **self.sha256}
        self.ids = {**other.ids, **self.ids}
        return len(self.sha256) + len(self.ids) > before

    def keys(self) -> frozenset[str]:
        """Return every sha256 and id that may not come back."""
        return frozenset(self.sha256) | frozenset(self.ids)
