"""Files that are either whole or absent: written aside, fsynced, renamed; and the manifest's parquet and JSON on top of it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import glob
import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from .config import ConfigError, canonical_json, fingerprint, from_plain, to_plain
from .faults import at_path
from .parsing import read_json
from .schema import HEADER_VERSION, READABLE_HEADERS

MANIFEST = "manifest.parquet"
HEADER = "manifest.json"
ORIGINS = "origins.parquet"
TEMPORARY = ".tmp-"
"""What stands between the name and the process number in names of unfinished files, see `is_unfinished`."""
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of file systems on which folders cannot be fsynced."""
ROW_GROUP = 16_384
"""Rows a parquet row group: fixed, because it decides the bytes."""


class ManifestError(ValueError):
    """A manifest that is missing, damaged or of another version; the message says which and what to do."""


def fsync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise at_path(error, folder) from error
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when the block ends without an exception.

    What processes that were killed left of earlier attempts at the same file is removed.

    Yields:
        A binary file beside the target; on success it is fsynced and renamed, on any exception removed.

    Raises:
        OSError: with the target's path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_attempts(path)
    aside = path.with_name(f"{path.name}{TEMPORARY}{os.getpid()}")
    try:
        with aside.open("w+b") as file:
            with contextlib.suppress(OSError):  # tells `_sweep_attempts`, on any machine, that this attempt lives
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, os.fspath(aside)):
            raise at_path(error, path) from error
        raise
    fsync_folder(path.parent)


MOST = 2**31 - 1
"""Largest number that a process can have: a C int."""


def _sweep_attempts(path: Path) -> None:
    """Remove what `writing` left beside a file in processes that are dead: no process of this machine, and the lock is free."""
    for aside in path.parent.glob(f"{glob.escape(path.name)}{TEMPORARY}*"):
        if not is_unfinished(aside.name, (path.name,)) or not aside.is_file() or aside.is_symlink():
            continue
        if not psutil.pid_exists(int(aside.name.rpartition(TEMPORARY)[2])):
            with contextlib.suppress(OSError), aside.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                aside.unlink()


def is_unfinished(name: str, owned: Container[str]) -> bool:
    """Return whether a file's name is that of a file which `writing` left behind when it was killed.

    Args:
        name: of the file.
        owned: names of the files that this program writes there.
    """
    target, mark, process = name.rpartition(TEMPORARY)
    return (
        bool(mark)
        and process.isascii()
        and process.isdecimal()
        and len(process) <= 10
        and int(process) <= MOST
        and target in owned
    )


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically and durably."""
    with writing(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented, key-sorted JSON, atomically."""
    plain = json.loads(canonical_json(value))
    write_bytes(path, (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())


def write_table(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> str:
    """Write tables of one schema as one parquet file with fixed options, so that equal rows give equal bytes.

    Returns:
        sha256 of the file.
    """
    with (
        writing(path) as file,
        pq.ParquetWriter(
            file, schema, compression="zstd", compression_level=3, version="2.6", write_statistics=True, store_schema=True
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table, row_group_size=ROW_GROUP)
    return file_sha256(path)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class ShardEntry:
    """One line of the header's list of shards: a shard exists because it stands here."""

    name: str
    split: str
    count: int
    num_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse a name that leads out of the set's folder: a header may come from somebody else's server."""
        if self.name in ("", ".", "..") or any(mark in self.name for mark in "/\\\0"):
            raise ValueError(f"expected the file name of a shard, such as train-000000.tar, got {self.name[:80]!r}")


@dataclass(frozen=True)
class Header:
    """What a manifest says about the whole set; nothing in it depends on where, when or by how many workers it was built."""

    schema_version: int
    tool_version: str
    recipe: dict[str, Any]
    """The resolved recipe: every setting that decides the bytes."""
    chains: dict[str, Any]
    """Chain key -> list of stages with version, settings, back end and weights' sha256."""
    environment: dict[str, str]
    """Versions of the packages that decide the bytes."""
    counts: dict[str, int]
    """Inputs by outcome, heads by status, samples by split."""
    reasons: dict[str, int]
    """Rows by reason."""
    shards: tuple[ShardEntry, ...]
    manifest_sha256: str
    """sha256 of manifest.parquet."""
    tombstones: tuple[str, ...] = ()
    """Ids that were taken down; their places in the shards stay empty."""
    digest: str = ""
    """sha256 over the canonical JSON of all the other fields; empty in headers of version 1."""

    def sealed(self) -> Header:
        """Return the header with its digest."""
        return dataclasses.replace(self, digest=self.content_digest())

    def content_digest(self) -> str:
        """Return the digest that this header must have."""
        plain = to_plain(self)
        del plain["digest"]
        return fingerprint(plain, 64)

    @property
    def is_genuine(self) -> bool:
        """Whether nothing in the header was changed since it was written, as far as its version can tell."""
        return self.digest == (self.content_digest() if self.schema_version >= HEADER_VERSION else "")


@dataclass(frozen=True)
class Manifest:
    """A finished data set's table and header."""

    folder: Path
    header: Header
    table: pa.Table

    @property
    def kept(self) -> pa.Table:
        """The rows that are in shards, by id."""
        return self.table.filter(pa.compute.equal(self.table["status"], "kept"))


def read_header(folder: Path) -> Header:
    """Read a data set's header.

    Raises:
        ManifestError: there is none, it does not parse, or it is of another schema version.
    """
    path = folder / HEADER
    if not path.is_file():
        raise ManifestError(f"no {HEADER} in {folder}; expected a folder that build-dataset finished")
    try:
        plain = read_json(path)
    except ValueError as error:
        raise ManifestError(f"{path} is no JSON ({error}); rebuild with the same build-dataset command") from error
    return parse_header(plain, str(path))


def parse_header(plain: Any, where: str) -> Header:
    """Turn a header's plain data into a header; whether its digest holds is left to `Header.is_genuine`.

    Raises:
        ManifestError: it is of a version that this program does not read, or damaged.
    """
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if version not in READABLE_HEADERS or isinstance(version, bool):
        known = " and ".join(map(str, READABLE_HEADERS))
        raise ManifestError(f"{where} has schema version {version!r}, this program reads {known}; rebuild the set")
    try:
        header = from_plain(Header, plain, where)
        header.content_digest()
    except (ConfigError, RecursionError) as error:
        raise ManifestError(f"{error}; rebuild with the same build-dataset command") from error
    return header


def read(folder: Path, columns: list[str] | None = None) -> Manifest:
    """Read a data set's manifest.

    Args:
        folder: what `--out` was.
        columns: read only these, where given.

    Raises:
        ManifestError: it is missing or damaged.
    """
    header = read_header(folder)
    path = folder / MANIFEST
    try:
        table = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise ManifestError(f"cannot read {path} ({error}); rebuild with the same build-dataset command") from error
    return Manifest(folder, header, table)


def require_own_table(folder: Path) -> Header:
    """Return a data set's header after making sure that the table beside it is the one it speaks of.

    Raises:
        ManifestError: header or table are missing, damaged, or not of one build.
    """
    header = read_header(folder)
    path = folder / MANIFEST
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise ManifestError(f"cannot read {path} ({error}); rebuild with the same build-dataset command") from error
    if digest != header.manifest_sha256:
        raise ManifestError(
            f"{path} is not the table that {HEADER} speaks of: expected sha256 {header.manifest_sha256}, got {digest}; "
            "copy both files of one build, or rebuild with the same build-dataset command"
        )
    return header
