"""The columns of a manifest, one row a head, and how rows of plain Python become an Arrow table.

A row holds what was decided about content, never where the file lay: paths are in the origins table, so that a renamed
folder gives the same manifest. Files that failed before a head was found have one row with head_index -1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1
"""Version of the table; raise it when a column changes its meaning or leaves."""
HEADER_VERSION = 2
"""Version of the header, its `schema_version`: 2 added the digest."""
READABLE_HEADERS = (1, 2)
"""Versions of headers that this program reads."""

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "id": (pa.string(), "16 hex: sha256 of (file bytes, head index); the WebDataset key"),
    "status": (pa.string(), "kept | dropped | failed"),
    "reason": (pa.string(), "why not kept, see datasets/reasons.py; empty for kept rows"),
    "detail": (pa.string(), "the measured fact behind the reason"),
    "value": (pa.float64(), "the number behind the reason, where there is one"),
    "stage": (pa.string(), "stage that refused the row"),
    "sha256": (pa.string(), "sha256 of the file's bytes"),
    "head_index": (pa.int32(), "position of the head in its photograph; -1 where none was looked for"),
    "num_heads": (pa.int32(), "heads found in the photograph"),
    "parent": (pa.string(), "id of the row this one was derived from"),
    "derivation": (pa.string(), "canonical JSON of how it was derived"),
    "split": (pa.string(), "train | val | ..., by connected component"),
    "component": (pa.string(), "smallest id that shares identity, group, file, cluster or parent with this row"),
    "shard": (pa.string(), "file name of the shard"),
    "index_in_shard": (pa.int32(), "position in the shard, from 0"),
    "offset": (pa.int64(), "byte offset of the sample's first tar header"),
    "num_bytes": (pa.int64(), "bytes from that offset to the next sample"),
    "image_sha256": (pa.string(), "sha256 of the image member"),
    "pixel_sha256": (pa.string(), "sha256 of the crop's uint8 pixels before encoding"),
    "width": (pa.int32(), "upright width of the photograph, pixels"),
    "height": (pa.int32(), "upright height of the photograph, pixels"),
    "format": (pa.string(), "true format of the file"),
    "orientation": (pa.int32(), "EXIF orientation that was applied"),
    "num_frames": (pa.int32(), "frames in the file; the first is used"),
    "bit_depth": (pa.int32(), "bits per channel in the file"),
    "flags": (pa.string(), "space-separated remarks of the decoder"),
    "head_box": (pa.list_(pa.float64()), "x, y, width, height in source pixels"),
    "head_confidence": (pa.float64(), "detector's confidence, 0 to 1"),
    "head_kind": (pa.string(), "mesh | face | pose"),
    "crop": (pa.list_(pa.float64()), "9 numbers, row-major: source pixels to crop pixels"),
    "quad": (pa.list_(pa.float64()), "8 numbers: crop corners in source pixels, TL TR BR BL"),
    "pad_ratio": (pa.float64(), "share of the crop outside the photograph"),
    "upscale": (pa.float64(), "crop pixels per source pixel"),
    "camera": (pa.list_(pa.float32()), "the 25-number label"),
    "yaw_degrees": (pa.float64(), "azimuth of the camera, 0 in front"),
    "pitch_degrees": (pa.float64(), "elevation of the camera"),
    "roll_degrees": (pa.float64(), "clockwise turn of the picture"),
    "view_bin": (pa.int32(), "cell of the equal-area grid of directions"),
    "weight": (pa.float64(), "sampling weight that evens out the views, mean 1"),
    "cluster": (pa.string(), "smallest id of the near-duplicate cluster; empty where alone"),
    "duplicate_of": (pa.string(), "the kept row that a near duplicate gave way to"),
    "synthetic": (pa.bool_(), "rendered, not photographed"),
    "license": (pa.string(), "rights: licence"),
    "license_url": (pa.string(), "rights: where the licence stands"),
    "attribution": (pa.string(), "rights: whom to name"),
    "source_url": (pa.string(), "rights: where the file came from"),
    "retrieved_at": (pa.string(), "rights: when it was fetched, as the list said"),
    "consent": (pa.string(), "rights: consent, as the list said"),
    "identity": (pa.string(), "key of the person"),
    "group": (pa.string(), "album, video or shoot"),
    "chain": (pa.string(), "key into the header's chains: stages, versions, back ends, weights"),
}
"""Fixed columns: name -> (type, meaning). Scores follow as `score_<name>` (float64), notes as `note_<name>` (string)."""

_DICTIONARY = {
    "status", "reason", "stage", "split", "shard", "format", "flags", "head_kind", "license", "license_url", "attribution",
    "consent", "identity", "group", "chain",
}  # fmt: skip


def schema_for(scores: Iterable[str], notes: Iterable[str]) -> pa.Schema:
    """Return the schema of a table whose rows use these score and note names (order does not matter)."""
    fields = [
        pa.field(name, pa.dictionary(pa.int32(), pa.string()) if name in _DICTIONARY else kind)
        for name, (kind, _) in COLUMNS.items()
    ]
    fields += [pa.field(f"score_{name}", pa.float64()) for name in sorted(set(scores))]
    fields += [pa.field(f"note_{name}", pa.string()) for name in sorted(set(notes))]
    return pa.schema(fields, metadata={"spherehead.schema_version": str(SCHEMA_VERSION)})


def flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    """Spread a row's `scores` and `notes` mappings into columns.

    Raises:
        KeyError: the row has a field that is no column.
    """
    flat = {key: value for key, value in row.items() if key not in ("scores", "notes")}
    unknown = sorted(set(flat) - set(COLUMNS))
    if unknown:
        raise KeyError(f"unknown manifest columns {unknown}; add them to manifests/schema.py")
    flat.update({f"score_{name}": value for name, value in row.get("scores", {}).items()})
    flat.update({f"note_{name}": value for name, value in row.get("notes", {}).items()})
    return flat


def to_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Turn flattened rows into a table of exactly this schema; missing fields become null."""
    rows = list(rows)
    plain = pa.schema([(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema])
    arrays = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in plain]
    columns = [
        array.dictionary_encode() if pa.types.is_dictionary(field.type) else array
        for array, field in zip(arrays, schema, strict=True)
    ]
    return pa.table(columns, schema=schema)
