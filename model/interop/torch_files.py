"""Checkpoint files to inert values: plain pickles, torch's legacy files and torch's zip files, and the ones inside pickles.

It lays out bytes and leaves what a pickle may hold to `unpickle` and `rebuild`, under the same rule at every depth.
"""

from __future__ import annotations

import hashlib
import mmap
import pickle
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .limits import Budget, CheckpointError, Limits, shown
from .rebuild import STORAGES, Record, Storage, expect, resolve
from .unpickle import Name, Reader
from .zip_members import zip_members

MAGIC = 0x1950A86A20F9469CFC6C
"""First number of torch's legacy files."""
LEGACY_VERSION = 1001
"""Second number of torch's legacy files."""
MAX_KEY = 200
"""Characters of a storage's key; torch writes numbers."""
_INNER = "torch.storage._load_from_bytes"
_ZIP = b"PK\x03\x04"
_START_BYTES = 60


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds and which file it was."""

    value: Any
    """Numbers, texts, containers, `Record`, `StoredTensor`; views into the file, which must not change meanwhile."""
    name: str
    """The file's name, without its folder."""
    num_bytes: int
    """Its size."""
    sha256: str
    """Its digest."""


def read_checkpoint(path: Path, limits: Limits | None = None) -> Checkpoint:
    """Read a checkpoint file without running anything in it.

    Args:
        path: a pickle, or what torch.save wrote.
        limits: what it may ask for; None for the usual ones.

    Raises:
        CheckpointError: no file, damaged, beyond a limit, or it asks for anything but numbers, texts and containers.
    """
    limits = limits or Limits()
    if not path.is_file():
        raise CheckpointError(f"expected a checkpoint file, found none at {path}: {kind_of_place(path)} is there")
    size = path.stat().st_size
    if not 0 < size <= limits.file_bytes:
        raise CheckpointError(f"expected a checkpoint of 1 to {limits.file_bytes:,} bytes, {path} has {size:,}")
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    _check_start(bytes(data[:_START_BYTES]))
    budget = Budget(limits, size)
    value = _read(data, budget)
    check_nesting(value, limits.nesting)
    budget.check_time()
    return Checkpoint(value, path.name, size, hashlib.sha256(data).hexdigest())


def kind_of_place(path: Path) -> str:
    """Return what is at a path that is no file: "a folder", "a pipe", "nothing" or so."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a broken link" if path.is_symlink() else "nothing"
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _check_start(start: bytes) -> None:
    """Say what a file looks like that is no checkpoint at all: a page, text or pointer saved in its place is common.

    Raises:
        CheckpointError: it begins neither as a pickle of protocol 2 or later nor as a torch file.
    """
    if start[:1] == pickle.PROTO or start[:4] == _ZIP:
        return
    text = start.decode("utf-8", "replace")
    hint = "; it is text, perhaps a web page or a pointer in place of the file: download it again"
    hint = hint if " ".join(text.split()).isprintable() else ""
    raise CheckpointError(f"expected a pickle or a torch file, got one that begins with {text[:40]!r}{hint}")


def check_nesting(value: Any, limit: int) -> None:
    """Refuse containers within containers beyond a limit, without recursion and looking at each container once.

    Raises:
        CheckpointError: they are nested more deeply.
    """
    seen: set[int] = set()
    level = [value]
    for _ in range(limit):
        inner: list[Any] = []
        for item in level:
            if id(item) in seen:
                continue
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list | tuple):
                inner += item
            elif isinstance(item, Record):
                inner.append(item.state)
            else:
                continue
            seen.add(id(item))
        if not inner:
            return
        level = inner
    raise CheckpointError(f"expected at most {limit} containers within each other, the checkpoint has more")


def _read(data: memoryview, budget: Budget, inner: bool = False) -> Any:
    """Read a file of any of the three kinds; `inner` is one inside a pickle, which must be torch's."""
    if bytes(data[:4]) == _ZIP:
        return _read_zip(data, budget)
    first = Reader(data, 0, resolve if inner else _outer(budget), budget)
    value = first.load()
    if type(value) is int and value == MAGIC:
        return _read_legacy(data, first.position, budget)
    if inner:
        raise CheckpointError("expected a torch file inside the checkpoint, got a pickle of something else")
    return value


def _outer(budget: Budget) -> Any:
    """Return the names of a plain pickle, which may hold torch files as bytes; those must not hold further ones."""

    def load(arguments: tuple[Any, ...], _: Budget) -> Any:
        (data,) = expect(arguments, 1, "a torch file inside a pickle")
        if not isinstance(data, memoryview):
            raise CheckpointError(f"expected the bytes of a torch file, got {type(data).__name__}")
        budget.take(len(data))
        return _read(data, budget, inner=True)

    return lambda full: Name(full, load) if full == _INNER else resolve(full)


def _kind_and_key(wanted: Any) -> tuple[torch.dtype, str, int]:
    """Check a reference to a storage: (type, key, number of elements)."""
    if type(wanted) is not tuple or not 5 <= len(wanted) <= 6 or wanted[0] != "storage":
        raise CheckpointError("expected a reference ('storage', type, key, place, count) in a torch file")
    _, kind, key, _, count = wanted[:5]
    if (
        not isinstance(kind, Name)
        or kind.full not in STORAGES
        or not isinstance(key, str)
        or len(key) > MAX_KEY
        or type(count) is not int
        or count < 0
    ):
        raise CheckpointError("expected a known type, a short text and a count in the reference to a storage")
    if wanted[5:] not in ((), (None,)):
        raise CheckpointError("expected storages that stand alone; views of others, as torch 0.3 wrote, are not read")
    return STORAGES[kind.full], key, count


class _Storages:
    """The storages that a torch file refers to, their bytes still to come."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def refer(self, wanted: Any) -> Storage | Name:
        """Return the storage of a reference, or the class where torch adds a module's source text, which is dropped."""
        if type(wanted) is tuple and len(wanted) == 4 and wanted[0] == "module" and isinstance(wanted[1], Name):
            return wanted[1]
        dtype, key, count = _kind_and_key(wanted)
        found = self.by_key.setdefault(key, Storage(dtype, count * dtype.itemsize))
        if (found.dtype, found.num_bytes) != (dtype, count * dtype.itemsize):
            raise CheckpointError("expected one type and count for each storage, got two")
        return found

    def fill(self, key: str, data: memoryview) -> None:
        """Give a storage its bytes."""
        found = self.by_key[key]
        if len(data) != found.num_bytes:
            raise CheckpointError(f"expected {found.num_bytes:,} bytes for a storage of the torch file, got {len(data):,}")
        found.data = data


def _read_legacy(data: memoryview, start: int, budget: Budget) -> Any:
    """Read what follows the magic number: version, machine, value, keys, then each storage's count and bytes."""
    storages, position = _Storages(), start
    parts: list[Any] = []
    for persistent in (None, None, storages.refer, None):
        reader = Reader(data, position, resolve, budget, persistent)
        parts.append(reader.load())
        position = reader.position
    version, machine, value, keys = parts
    if version != LEGACY_VERSION or type(machine) is not dict or machine.get("little_endian") is not True:
        raise CheckpointError(f"expected a little-endian torch file of version {LEGACY_VERSION}")
    listed = type(keys) is list and all(isinstance(key, str) and len(key) <= MAX_KEY for key in keys)
    if not listed or set(keys) != storages.by_key.keys() or len(keys) != len(storages.by_key):
        raise CheckpointError("expected the torch file to list exactly the storages that it refers to")
    for key in keys:
        size = storages.by_key[key].num_bytes
        if position + 8 + size > len(data):
            missing = position + 8 + size - len(data)
            raise CheckpointError(f"the checkpoint is truncated: {missing:,} bytes of a storage are missing")
        count = int.from_bytes(data[position : position + 8], "little", signed=True)
        if count * storages.by_key[key].dtype.itemsize != size:
            raise CheckpointError(f"expected a storage of {size:,} bytes, the torch file says {count:,} numbers")
        storages.fill(key, data[position + 8 : position + 8 + size])
        position += 8 + size
    return value


def _read_zip(data: memoryview, budget: Budget) -> Any:
    """Read torch's zip: `<name>/data.pkl` and one stored, not packed, member a storage."""
    members = zip_members(data, budget)
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(f"expected a torch file with one data.pkl, got a zip with {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    if bytes(members.get(f"{root}byteorder", memoryview(b"little"))[:10]) != b"little":
        raise CheckpointError("expected a little-endian torch file")
    storages = _Storages()
    value = Reader(members[pickles[0]], 0, resolve, budget, storages.refer).load()
    for key in storages.by_key:
        name = f"{root}data/{key}"
        if name not in members:
            raise CheckpointError(f"the torch file refers to {shown(name)}, which is not in it")
        storages.fill(key, members[name])
    return value
