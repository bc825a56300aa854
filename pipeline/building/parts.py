"""Parts of a build that jobs without a common engine do: which inputs are whose, and the record that says a part is finished.

A part keeps what came of its inputs in its own `.state`; what only the whole set can decide is left to `merge`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.sources.names import to_bytes
from ...manifests import store
from ...manifests.config import ConfigError, from_plain, to_plain
from ...manifests.parsing import read_json
from .inputs import InputRow, is_path

PARTS = "parts"
"""Folder in a data set's folder with what its jobs have made; it may be deleted once they are merged."""
RECORD = "part.json"
_VERSION = 1
_SOURCE, _PATH = 0, 2
_FACTS = (1, 2, 4, 6, 7, 8, 9)
"""Columns of an input that tell it from others wherever it lies: label, path, bytes, rights, sidecar, outcome, reason."""


@dataclass(frozen=True)
class PartOf:
    """One of several jobs."""

    number: int
    """From 1."""
    total: int

    @classmethod
    def parse(cls, text: str) -> PartOf:
        """Read K/N.

        Raises:
            ConfigError: it is something else.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"expected --shard-of K/N with K of 1 to N, such as 3/8, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        """Return K/N."""
        return f"{self.number}/{self.total}"

    def folder(self, out: Path) -> Path:
        """Return where the part lies in a data set's folder."""
        return out / PARTS / f"{self.number:0{len(str(self.total))}d}-of-{self.total}"

    def takes(self, source: str, path: str) -> bool:
        """Return whether an input is this job's: by a hash of its path, so that it stays so when others come or go.

        Args:
            source: text of the source. Views of one rendered person, a folder in it, go to one job.
            path: of the input in its source.
        """
        named = path if is_path(source) else path.rpartition("/")[0] or path
        digest = hashlib.blake2b(to_bytes(named), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.total == self.number - 1


def own_rows(shard_of: str, sources: Sequence[str], rows: Iterable[InputRow]) -> Iterator[InputRow]:
    """Yield the inputs of one part; all of them where there is none.

    Args:
        shard_of: K/N, or empty.
        sources: texts of the sources.
        rows: all inputs.
    """
    part = PartOf.parse(shard_of) if shard_of else None
    return (row for row in rows if part is None or part.takes(sources[row[_SOURCE]], row[_PATH]))


@dataclass
class Listing:
    """What a build's inputs are, as a count and a digest that does not depend on the machine."""

    count: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def over(self, rows: Iterable[InputRow]) -> Iterator[InputRow]:
        """Yield inputs and take them into account."""
        for row in rows:
            self.count += 1
            self._digest.update(to_bytes(f"{[row[column] for column in _FACTS]!r}"))
            yield row

    @property
    def digest(self) -> str:
        """Of the inputs so far, 64 hex digits."""
        return str(self._digest.hexdigest())


@dataclass(frozen=True)
class PartRecord:
    """What a finished part says of itself."""

    version: int
    part: int
    of: int
    listed: int
    """Inputs of the whole build."""
    listing: str
    """Digest of them."""
    inputs: int
    """Inputs of this part."""
    outcomes: dict[str, int]
    """Inputs of this part by outcome, before the whole set is looked at."""
    keys: tuple[str, ...]
    """Cache keys of the recipe."""
    environment: dict[str, str]
    """Versions that may decide bytes."""

    def write(self, folder: Path) -> None:
        """Write the record: from then on the part is finished."""
        store.write_json(folder / RECORD, to_plain(self))

    @classmethod
    def read(cls, folder: Path) -> PartRecord | None:
        """Return the record of a part; None where it is not finished.

        Raises:
            ConfigError: it is damaged.
        """
        path = folder / RECORD
        if not path.is_file():
            return None
        try:
            plain = read_json(path)
            if plain.get("version") != _VERSION:
                raise ValueError(f"expected version {_VERSION}")
            return from_plain(cls, plain)
        except (ValueError, AttributeError, TypeError) as error:
            raise ConfigError(f"{path} is damaged ({error}); rerun that job") from error


def unfinish(folder: Path) -> None:
    """Take back that a part is finished, before anything in it changes."""
    path = folder / RECORD
    if path.exists():
        path.unlink()
        store.fsync_folder(folder)


def record_of(
    part: PartOf, listing: Listing, outcomes: Iterable[tuple[str, int]], keys: tuple[str, ...], versions: dict[str, str]
) -> PartRecord:
    """Return the record of a part whose inputs are all worked on."""
    counts = dict(outcomes)
    return PartRecord(
        _VERSION, part.number, part.total, listing.count, listing.digest, sum(counts.values()), counts, keys, versions
    )


def is_part(folder: Path) -> bool:
    """Return whether a folder is named as jobs name theirs."""
    found = re.fullmatch(r"(\d+)-of-(\d+)", folder.name)
    return found is not None and 1 <= int(found[1]) <= int(found[2])


def parts_in(folder: Path) -> list[Path]:
    """Return the folders of parts: those in a data set's folder, or the folder itself where it is one.

    Args:
        folder: `--out` of a job, or the part in it.
    """
    if is_part(folder):
        return [folder]
    inside = folder / PARTS
    if not inside.is_dir():
        return []
    return sorted(inside / name for name in os.listdir(inside) if is_part(inside / name))  # noqa: PTH208
