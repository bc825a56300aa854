"""The kept samples of a data set as they are to be written elsewhere: encoded members untouched, labels, names.

What a format makes of them is left to the modules beside this one.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ...manifests.config import ConfigError
from ...manifests.frames import read_frame, read_origins
from ...manifests.store import write_bytes, writing
from ..arrays import Array
from ..camera import Camera
from ..images.decode import read_header
from ..shards.codec import IMAGE_SUFFIXES
from ..shards.inspect import PLACE
from ..shards.tar import ShardReader

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (*PLACE, "sha256", "identity", "head_index")
Names = Literal["numbered", "original"]
"""How pictures are named: by their place, as EG3D's tool does, or as their source named them."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Time of every member: the clock must not enter the bytes."""


@dataclass(frozen=True, eq=False)
class Kept:
    """One sample on its way out."""

    id: str
    name: str
    """Relative path with forward slashes, without an ending."""
    suffix: str
    """Ending of the picture: png, jpg or webp."""
    image: bytes
    """The picture's file, as it lies in the shard."""
    mask: bytes | None
    """PNG of the mask."""
    label: Array | None
    """(25,) float32, or None."""
    origin: str
    """Path of the photograph in its source."""

    @property
    def camera(self) -> Camera | None:
        """The label as a camera."""
        return None if self.label is None else Camera.from_label(self.label)

    def size(self) -> tuple[int, int]:
        """Return width and height of the picture by its header."""
        header = read_header(self.image)
        return header.width, header.height


def kept_samples(folder: Path, names: Names = "numbered", split: str = "", identity: str = "") -> Iterator[Kept]:
    """Read kept samples: in the order of shards and places, or of their names where these are the original ones.

    Args:
        folder: what `--out` of the build was.
        names: how pictures are named.
        split: only this one, where given.
        identity: only pictures of this person, where given.

    Raises:
        ConfigError: there is nothing of this split or person, or two pictures would have one name.
    """
    frame = read_frame(folder, COLUMNS)
    frame = frame[(frame["status"] == "kept") & ((frame["split"] == split) | (not split))]
    frame = frame[(frame["identity"].fillna("") == identity) | (not identity)].sort_values(["shard", "offset"])
    if frame.empty:
        raise ConfigError(
            f"{folder} has no kept picture" + (f" in split {split!r}" * bool(split)) + (f" of {identity!r}" * bool(identity))
        )
    origins = read_origins(folder)
    places = dict(zip(origins["sha256"][::-1], origins["path"][::-1], strict=True))
    frame = frame.assign(origin=[places.get(digest, "") for digest in frame["sha256"]])
    frame = frame.assign(
        name=_original(frame) if names == "original" else [f"{n // 1000:05d}/img{n:08d}" for n in range(len(frame))]
    )
    if names == "original":
        frame = frame.sort_values("name", key=lambda column: column.map(os.fsencode))
    with ShardReader(folder) as reader:
        for row in frame.to_dict("records"):
            _, members = reader.members(str(row["shard"]), int(row["offset"]), int(row["num_bytes"]))
            suffix = next(ending for ending in IMAGE_SUFFIXES if ending in members)
            label = np.array(json.loads(members["cam.json"]), dtype=np.float32) if "cam.json" in members else None
            yield Kept(
                str(row["id"]), str(row["name"]), suffix, members[suffix], members.get("mask.png"), label,
                str(row["origin"]),
            )  # fmt: skip


def _original(frame: pd.DataFrame) -> list[str]:
    """Return the names that pictures had in their source, without endings.

    Raises:
        ConfigError: a name leads elsewhere, is unknown, or would be that of two pictures.
    """
    names = []
    for path, head in zip(frame["origin"], frame["head_index"], strict=True):
        parts = PurePosixPath(str(path)).parts
        if not parts or ".." in parts or parts[0] == "/":
            raise ConfigError(f"the original name {path!r} cannot be used; take numbered names")
        names.append(str(PurePosixPath(*parts).with_suffix("")) + (f"-{head}" if head else ""))
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise ConfigError(f"several pictures were named {twice[0]!r}; take numbered names")
    return names


class Sink(Protocol):
    """Where files go: a folder or a zip."""

    def add(self, name: str, data: bytes) -> None:
        """Write one file under a relative name with forward slashes."""


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, name: str, data: bytes) -> None:
        write_bytes(self._root / name, data)


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, data: bytes) -> None:
        self._archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), data)


@contextmanager
def sink(out: Path) -> Iterator[Sink]:
    """Open a new folder, or a new zip where the name ends so; a zip appears under its name only when it is whole.

    Raises:
        ConfigError: something lies there already.
    """
    if out.exists() and not (out.is_dir() and out.suffix != ".zip" and not any(out.iterdir())):
        raise ConfigError(f"{out} exists already; give a new name")
    if out.suffix.lower() != ".zip":
        yield _Folder(out)
        return
    with writing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        yield _Zip(archive)
