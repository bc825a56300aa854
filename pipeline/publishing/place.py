"""Where a data set is built and where it is kept: a folder for both, or an object store with a folder here for its memory.

What a store holds of earlier builds is brought here before a build; writing to the store is `publish`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.shown import shown_place
from ...datasets.stores.connection import is_store, scheme_of
from ...datasets.stores.objects import ObjectStore, folder_name
from ...manifests import store
from ...manifests.config import ConfigError, user_cache
from ...manifests.parsing import read_json
from ..building.folder import OWN_FILES, OWN_FOLDERS, REQUEST, STATE, TOMBSTONES, read_request

RECORD = "published.json"
"""File in `.state` that notes what was written to the store, object by object."""
BROUGHT = (TOMBSTONES, REQUEST)
"""What a machine without the memory of a data set takes from the store, in this order."""


@dataclass(frozen=True)
class Place:
    """What `--out` says."""

    folder: Path
    """Where the data set is built; with its memory."""
    url: str = ""
    """Where it is kept, in an object store; empty where that is the folder."""

    @property
    def name(self) -> str:
        """The place as a person knows it."""
        return shown_place(self.url) if self.url else str(self.folder)


def place_of(out: str, state: Path | None = None) -> Place:
    """Return what an `--out` names.

    Args:
        out: a folder, or the URL of a prefix in an object store.
        state: folder here for a data set that is kept in a store; one in the user's cache by default.

    Raises:
        ConfigError: the URL cannot be written, a folder is given for a folder, or the user has no home folder.
    """
    if not scheme_of(out):
        if state is not None:
            raise ConfigError("--state is for a data set in an object store; a folder keeps its memory in .state")
        return Place(Path(out))
    if not is_store(out) or not out.partition("://")[2].partition("/")[0]:
        raise ConfigError(f"expected --out to be a folder or a prefix such as s3://bucket/heads, got {shown_place(out)}")
    return Place(state or user_cache() / "spherehead" / "stores" / folder_name(out), out.rstrip("/"))


def read_record(place: Place) -> dict[str, Any]:
    """Return what was written to the store from this folder: key -> [sha256, bytes, tag]; empty where nothing was.

    Raises:
        ConfigError: the folder belongs to another URL, or the record is damaged.
    """
    path = place.folder / STATE / RECORD
    if not path.is_file():
        return {}
    try:
        plain = read_json(path)
        url, objects = plain["url"], dict(plain["objects"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); delete it, and everything is uploaded again") from error
    if url != place.url:
        raise ConfigError(f"{place.folder} holds the memory of {shown_place(str(url))}; give {place.name} another --state")
    return objects


def write_record(place: Place, objects: dict[str, Any]) -> None:
    """Note what is in the store."""
    store.write_json(place.folder / STATE / RECORD, {"url": place.url, "objects": objects})


def prepare(place: Place, update: bool = False) -> list[str]:
    """Make sure that a store may be built into, and bring what it knows of earlier builds to this machine.

    Args:
        place: whose store is looked at.
        update: let other machines' builds be taken over, and other objects lie beside the data set.

    Returns:
        Lines for a person.

    Raises:
        ConfigError: other objects lie there, or another machine has built there since.
        StoreError: the store does not answer, or refuses.
    """
    if not place.url:
        return []
    there = ObjectStore(place.url)
    record = read_record(place)
    names = there.names()
    if REQUEST not in names and store.HEADER not in names:
        _check_empty(place, names, update)
        return []
    changed = [
        name for name in (*BROUGHT, store.HEADER) if name in record and not _is_ours(place, there, name, record[name][2])
    ]
    if changed and not update:
        raise ConfigError(
            f"{place.name} was written by another machine since this one built it ({', '.join(changed)} differ); build on that "
            "machine, or pass --update to take its records over and rebuild what differs"
        )
    if record and not changed and read_request(place.folder):
        return []
    for name in BROUGHT:
        if name in names:
            store.write_bytes(place.folder / name, there.read(name))
    return [
        f"{place.name} was built from another folder than {place.folder}: its settings and tombstones are taken over, its "
        "photographs are worked on again here, and shards that come out the same are not uploaded"
    ]


def _is_ours(place: Place, there: ObjectStore, name: str, tag: str) -> bool:
    """Return whether an object was written from here: as noted, or with the folder's bytes after a stop before the note."""
    found = there.find(name)
    if found is not None and found.tag == tag:
        return True
    here = place.folder / name
    return found is not None and here.is_file() and there.read(name) == here.read_bytes()


def _check_empty(place: Place, names: set[str], update: bool) -> None:
    """Refuse a prefix that somebody else's objects lie under.

    Raises:
        ConfigError: with their names.
    """
    clashing = sorted(names & {*OWN_FILES, *OWN_FOLDERS})
    shown = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
    if clashing:
        raise ConfigError(
            f"{place.name} holds {', '.join(clashing)} but no data set of this program, and a build would write over that; "
            "choose another prefix, or move it away"
        )
    if names and not update:
        raise ConfigError(
            f"{place.name} is not empty and holds no data set: {shown}; choose another prefix, or pass --update to build "
            "beside these objects, which are left alone"
        )
