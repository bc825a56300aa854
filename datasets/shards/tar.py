"""WebDataset shards: tar files with fixed headers and sorted members, read back by position or from end to end.

A shard is written aside and renamed whole; that it exists at all is said by the manifest's header, never by the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from ...manifests.store import ShardEntry, writing
from ..tar_members import BLOCK, walk_file
from .codec import Decoded, decode_members
from .mirror import elsewhere


class ShardError(ValueError):
    """A shard that is not what its manifest says; the message names the file and what differs."""


@dataclass(frozen=True)
class Placed:
    """Where one sample went."""

    id: str
    index: int
    offset: int
    """Byte of its first tar header."""
    num_bytes: int


class _Hashed:
    """A file that is hashed while it is written, so that no shard is read again to know its sha256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest, self.num_bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.num_bytes += len(data)
        return self._file.write(data)


def tar_writer(file: _Hashed) -> Any:
    """Return webdataset's writer with everything fixed that would vary between two writes (time, owner)."""
    from webdataset.writer import TarWriter

    return TarWriter(file, user="", group="", mtime=0, encoder=False)


def preload() -> None:
    """Import webdataset's writer, and PyTorch with it: a second of CPU."""
    tar_writer(_Hashed(BytesIO()))


def packed_size(members: Mapping[str, bytes]) -> int:
    """Return the bytes that a sample takes in a shard: per member a header block and the data in whole blocks."""
    return sum(BLOCK + -(-len(data) // BLOCK) * BLOCK for data in members.values())


def write_shard(path: Path, split: str, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> tuple[ShardEntry, list[Placed]]:
    """Write one shard atomically.

    Args:
        path: final place.
        split: name of the split it belongs to, for the entry.
        samples: (key, members) in the order they are to stand.

    Returns:
        The entry for the manifest's header, and where each sample lies.

    Raises:
        ValueError: a key has a dot (WebDataset cuts keys at the first one) or a sample has no members.
    """
    placed: list[Placed] = []
    offset = 0
    with writing(path) as file:
        hashed = _Hashed(file)
        with tar_writer(hashed) as tar:
            for index, (key, members) in enumerate(samples):
                if "." in key or not key or not members:
                    raise ValueError(f"expected a key without dots and at least one member, got {key!r} with {sorted(members)}")
                tar.write({"__key__": key, **members})
                size = packed_size(members)
                placed.append(Placed(key, index, offset, size))
                offset += size
    return ShardEntry(path.name, split, len(placed), hashed.num_bytes, hashed.digest.hexdigest()), placed


def iterate(file: IO[bytes], name: str = "shard") -> Iterator[tuple[str, dict[str, bytes]]]:
    """Read a shard from end to end as (key, members).

    Args:
        file: a seekable file; a piece of a shard without its end mark will do.
        name: the shard's, for errors.

    Raises:
        ShardError: the tar is damaged or cut inside a member, a member is no file or lacks a suffix, or a key comes back
            after another one.
    """
    seen: set[str] = set()
    key, members = "", dict[str, bytes]()
    for member in walk_file(file):
        if member.is_end:
            break
        if member.problem is not None:
            place = f"member {member.name!r}" if member.name else f"byte {member.start}"
            raise ShardError(f"{name}: damaged tar ({place}: {member.problem[1]})")
        if member.kind != "file":
            raise ShardError(f"{name}: expected files only, got {member.name!r}, a {member.kind}")
        stem, dot, suffix = member.name.rpartition("/")[2].partition(".")
        if not dot:
            raise ShardError(f"{name}: member {member.name!r} has no suffix")
        if stem != key:
            if members:
                yield key, members
            if stem in seen:
                raise ShardError(f"{name}: sample {stem} stands in two places")
            seen.add(stem)
            key, members = stem, {}
        if suffix in members:
            raise ShardError(f"{name}: sample {stem} has two members .{suffix}")
        file.seek(member.offset)
        members[suffix] = file.read(member.size)
    if members:
        yield key, members


class ShardReader:
    """Random access to the samples of a data set by the offsets of its manifest."""

    def __init__(self, folder: Path) -> None:
        """Read from the data set in `folder`."""
        self._folder, self._elsewhere = folder, elsewhere(folder)
        self._open: dict[str, IO[bytes]] = {}

    def members(self, shard: str, offset: int, num_bytes: int) -> tuple[str, dict[str, bytes]]:
        """Read one sample.

        Args:
            shard: file name of the shard.
            offset, num_bytes: where the manifest says it lies.

        Raises:
            ShardError: the shard is missing or holds something else there.
        """
        if self._elsewhere is not None:
            return self._sample(shard, offset, self._elsewhere.read(shard, offset, offset + num_bytes))
        if shard not in self._open:
            path = self._folder / shard
            if not path.is_file():
                raise ShardError(f"shard {path} is missing; rebuild with the same build-dataset command")
            self._open[shard] = path.open("rb")
        file = self._open[shard]
        file.seek(offset)
        return self._sample(shard, offset, file.read(num_bytes))

    @staticmethod
    def _sample(shard: str, offset: int, data: bytes) -> tuple[str, dict[str, bytes]]:
        """Return the one sample in a piece of a shard."""
        found = list(iterate(BytesIO(data), shard))
        if len(found) != 1:
            raise ShardError(f"{shard}: expected one sample at byte {offset}, found {len(found)}")
        return found[0]

    def sample(self, shard: str, offset: int, num_bytes: int) -> Decoded:
        """Read and decode one sample; see `members`."""
        return decode_members(*self.members(shard, offset, num_bytes))

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
