"""What lies inside the shards, sample by sample, against the manifest: members, places, records, labels, class maps, pixels.

Header and tables are judged by `verify`, which calls this.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...manifests.parsing import parse_json
from ...manifests.schema import COLUMNS
from ...manifests.store import Header, ShardEntry, file_sha256
from ..camera import Camera
from ..classes import CLASSES
from ..depth import MEMBER as DEPTH
from ..depth import decode_depth
from .codec import BEARD, IMAGE_SUFFIXES, decode_grey, decode_image
from .mirror import shard_file
from .tar import ShardError, iterate, packed_size

MEMBERS = ("mask.png", "seg.png", BEARD, DEPTH, "cam.json", "json", *IMAGE_SUFFIXES)
"""What a sample may consist of."""
PHOTOGRAPH_MEMBERS = re.compile(r"who\.png|depth\.png|points\.npy|alpha\d\.png")
"""What a photograph with several heads may have beside them, see `photographs`."""
DECIDED = frozenset(
    ("status", "split", "component", "shard", "index_in_shard", "offset", "num_bytes", "view_bin", "weight", "cluster",
     "duplicate_of", "synthetic", "chain")
)  # fmt: skip
"""Columns that the whole set decides: a sample's record does not speak of them."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is not as it should be."""

    kind: str
    """header | digest | manifest | columns | chain | counts | reasons | status | id | origin | camera | angles | weight |
    leakage | forgotten | placement | shard | stray | member | record | label | image | size | classes | decode."""
    file: str
    """File in the data set's folder."""
    id: str
    """Sample, where it is about one."""
    expected: str
    found: str

    def __str__(self) -> str:
        place = f"{self.file}, sample {self.id}" if self.id else self.file
        return f"{place}: {self.kind}: expected {self.expected}, found {self.found}"


def check_shards(folder: Path, header: Header, kept: pa.Table, deep: bool) -> Iterator[Problem]:
    """Read every shard that is there and compare it with the kept rows.

    Args:
        folder: the data set.
        header: its header.
        kept: its kept rows, with all columns.
        deep: decode every picture.
    """
    for entry in header.shards:
        with shard_file(folder, entry.name) as path:
            if path is None:
                continue  # said by verify
            if path.stat().st_size == entry.num_bytes:
                digest = file_sha256(path)
                if digest != entry.sha256:
                    yield Problem("shard", entry.name, "", f"sha256 {entry.sha256}", digest)
            rows = kept.filter(pc.equal(pc.cast(kept["shard"], pa.string()), entry.name)).to_pylist()
            yield from _check_shard(path, entry, {row["id"]: row for row in rows}, deep)


def _check_shard(path: Path, entry: ShardEntry, rows: Mapping[str, dict[str, Any]], deep: bool) -> Iterator[Problem]:
    """Walk through one shard."""
    seen: list[str] = []
    offset = 0
    try:
        with path.open("rb") as file:
            for key, members in iterate(file, entry.name):
                size = packed_size(members)
                if key not in rows:
                    yield Problem("member", entry.name, key, "a row in the manifest", "none")
                else:
                    place = (rows[key]["offset"], rows[key]["num_bytes"])
                    if place != (offset, size):
                        yield Problem("placement", entry.name, key, f"{place[1]} bytes at {place[0]}", f"{size} at {offset}")
                    try:
                        found = list(_check_sample(members, rows[key], deep))
                    except RecursionError:
                        found = [("record", "JSON of few levels", "JSON nested too deeply")]
                    for kind, expected, what in found:
                        yield Problem(kind, entry.name, key, expected, what)
                seen.append(key)
                offset += size
    except ShardError as error:
        yield Problem("shard", entry.name, "", "a whole tar file", str(error))
    for key in sorted(set(rows) - set(seen)):
        yield Problem("member", entry.name, key, "the sample that the manifest lists", "nothing")
    if seen != sorted(seen):
        yield Problem("member", entry.name, "", "samples sorted by id", "another order")


def _check_sample(members: Mapping[str, bytes], row: Mapping[str, Any], deep: bool) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, expected, found) for one sample."""
    suffixes = [suffix for suffix in IMAGE_SUFFIXES if suffix in members]
    strange = sorted(name for name in set(members) - set(MEMBERS) if not PHOTOGRAPH_MEMBERS.fullmatch(name))
    if len(suffixes) != 1 or "json" not in members or strange:
        yield "member", "one picture, one .json, and mask, class map and camera where made", ", ".join(sorted(members))
        return
    digest = hashlib.sha256(members[suffixes[0]]).hexdigest()
    if row.get("image_sha256") and digest != row["image_sha256"]:
        yield "image", f"sha256 {row['image_sha256']}", digest
    yield from _check_label(members.get("cam.json"), row)
    yield from _check_record(members["json"], row)
    yield from _check_pixels(members, suffixes[0], row, deep)


def _check_label(data: bytes | None, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Compare the camera member with the manifest's label, number by number (JSON keeps no sign of zero)."""
    if data is None or not row.get("camera"):
        if data is not None or row.get("camera"):
            yield (
                "label",
                "a camera in shard and manifest alike",
                "only in the " + ("shard" if data is not None else "manifest"),
            )
        return
    try:
        label = Camera.from_label(np.array(parse_json(data))).label()
    except (ValueError, TypeError) as error:
        yield "label", "25 numbers", str(error)
        return
    expected = np.array(row["camera"], dtype=np.float32)
    if expected.shape != label.shape:
        yield "label", "25 numbers in the manifest", str(expected.size)
    elif not np.array_equal(label, expected):
        worst = int(np.abs(label - expected).argmax())
        yield "label", f"the manifest's label (entry {worst}: {expected[worst]:.7g})", f"{label[worst]:.7g}"


def _check_record(data: bytes, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Compare the record with the row in every column that both speak of."""
    try:
        record = parse_json(data)
    except ValueError as error:
        yield "record", "JSON", str(error)
        return
    if not isinstance(record, dict):
        yield "record", "a mapping", type(record).__name__
        return
    flat = {name: record.get(name) for name in COLUMNS}
    for prefix, nested in (("score_", record.get("scores")), ("note_", record.get("notes"))):
        if nested is not None and not isinstance(nested, dict):
            yield "record", f"a mapping behind {prefix}", type(nested).__name__
            continue
        flat.update({f"{prefix}{name}": value for name, value in (nested or {}).items()})
        flat.update({name: None for name in row if name.startswith(prefix) and name not in flat})
    for name, value in flat.items():
        if name not in DECIDED and not _equal(value, row.get(name)):
            yield "record", f"{name} {row.get(name)!r} as in the manifest", repr(value)


def _equal(first: Any, second: Any) -> bool:
    empty: tuple[Any, ...] = (None, "", [])
    return bool(first == second or (first in empty and second in empty))


def _check_pixels(
    members: Mapping[str, bytes], suffix: str, row: Mapping[str, Any], deep: bool
) -> Iterator[tuple[str, str, str]]:
    """Check class ids and that all pictures of the sample decode and have one size."""
    shapes: dict[str, tuple[int, int]] = {}
    for name in ("seg.png", "mask.png", BEARD, DEPTH, suffix):
        if name not in members or (name != "seg.png" and not deep):
            continue
        try:
            decode = {suffix: decode_image, DEPTH: decode_depth}.get(name, decode_grey)
            pixels = decode(members[name])
        except ValueError as error:
            yield "decode", f"a picture in .{name}", str(error)
            continue
        shapes[name] = (pixels.shape[0], pixels.shape[1])
        if name == "seg.png" and pixels.max(initial=0) >= len(CLASSES):
            yield (
                "classes",
                f"class ids 0 to {len(CLASSES) - 1}",
                str(sorted(set(np.unique(pixels).tolist()) - set(range(len(CLASSES))))),
            )
        if name == suffix and suffix != "jpg" and row.get("pixel_sha256"):
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            if digest != row["pixel_sha256"]:
                yield "image", f"pixels with sha256 {row['pixel_sha256']}", digest
    for name in ("mask.png", "seg.png", BEARD, DEPTH):
        if name in members and name not in shapes and len(members[name]) >= 24:  # the PNG header says it without decoding
            width, height = (int.from_bytes(members[name][at : at + 4], "big") for at in (16, 20))
            shapes[name] = (height, width)
    if len(set(shapes.values())) > 1:
        yield "size", "pictures of one size", ", ".join(f".{name} {w} x {h}" for name, (h, w) in sorted(shapes.items()))
