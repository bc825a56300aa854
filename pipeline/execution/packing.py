"""What stages hand on, as bytes: samples and their parts packed for the stage cache, without pickle.

The form is JSON with the arrays taken out and compressed behind it; it is private to one version of the toolkit, because
cache keys carry `stage.CACHE_FORMAT`.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...datasets.camera import Camera
from ...datasets.sample import Crop, Head, HeadPose, Photo, PhotoInfo, Rights, Sample, SourceImage

_CLASSES = {cls.__name__: cls for cls in (Camera, Crop, Head, HeadPose, PhotoInfo, Rights, SourceImage)}
_CODEC = pa.Codec("zstd", compression_level=1)


def pack(value: Any) -> bytes:
    """Pack None, numbers, text, bytes, lists, tuples, string-keyed mappings, arrays and the datasets' dataclasses.

    Raises:
        TypeError: something else is in it.
    """
    blobs: list[bytes] = []
    head = json.dumps(_encode(value, blobs), separators=(",", ":")).encode()
    return struct.pack("<I", len(head)) + head + b"".join(blobs)


def unpack(data: bytes) -> Any:
    """Return what was packed; arrays come back writable and contiguous."""
    (length,) = struct.unpack_from("<I", data)
    return _decode(json.loads(data[4 : 4 + length]), memoryview(data)[4 + length :])


def _encode(value: Any, blobs: list[bytes]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return {"$array": [value.dtype.str, list(value.shape), *_put(_filtered(value).tobytes(), blobs)]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return {"$bytes": _put(value, blobs, compress=False)}
    if isinstance(value, tuple | list):
        items = [_encode(item, blobs) for item in value]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, frozenset):
        return {"$set": sorted(value)}
    if isinstance(value, Mapping):
        return {"$map": {str(key): _encode(item, blobs) for key, item in value.items()}}
    if type(value).__name__ in _CLASSES:
        fields = {field.name: _encode(getattr(value, field.name), blobs) for field in dataclasses.fields(value)}
        return {"$class": type(value).__name__, "fields": fields}
    raise TypeError(f"cannot pack a {type(value).__name__}; add it to pipeline/packing.py")


def _decode(value: Any, blobs: memoryview) -> Any:
    if isinstance(value, list):
        return [_decode(item, blobs) for item in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        dtype, shape, *place = value["$array"]
        flat = np.frombuffer(_take(place, blobs), dtype=np.dtype(dtype)).reshape(shape)
        return _unfiltered(flat)
    if "$bytes" in value:
        return bytes(_take(value["$bytes"], blobs))
    if "$tuple" in value:
        return tuple(_decode(item, blobs) for item in value["$tuple"])
    if "$set" in value:
        return frozenset(value["$set"])
    if "$map" in value:
        return {key: _decode(item, blobs) for key, item in value["$map"].items()}
    return _CLASSES[value["$class"]](**{key: _decode(item, blobs) for key, item in value["fields"].items()})


def _put(data: bytes, blobs: list[bytes], compress: bool = True) -> list[int]:
    """Append a blob and return (offset, stored bytes, raw bytes or 0 where stored as it is)."""
    stored = bytes(_CODEC.compress(data, asbytes=True)) if compress and len(data) > 128 else data
    offset = sum(map(len, blobs))
    blobs.append(stored)
    return [offset, len(stored), len(data) if stored is not data else 0]


def _take(place: Sequence[int], blobs: memoryview) -> bytes | memoryview:
    offset, stored, raw = place
    data = blobs[offset : offset + stored]
    return bytes(_CODEC.decompress(data, decompressed_size=raw, asbytes=True)) if raw else data


def _filtered(array: np.ndarray) -> np.ndarray:
    """Replace colours by their difference from the left neighbour: photographs then compress to about half."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[1] < 2:
        return array
    difference = array.copy()
    difference[:, 1:] -= array[:, :-1]
    return difference


def _unfiltered(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[1] < 2:
        return array.copy()
    return np.cumsum(array, axis=1, dtype=np.uint8)


SAMPLE_FIELDS = tuple(field.name for field in dataclasses.fields(Sample) if field.name not in ("photo", "shared"))
"""What of a sample is packed: all but the photograph, which can be read again, and what stages share within one run."""


def changes(before: Sample, after: Sample, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return the fields in which two samples differ (by identity, so no pixels are compared)."""
    return {
        name: getattr(after, name)
        for name in SAMPLE_FIELDS
        if name not in leave_out and getattr(after, name) is not getattr(before, name)
    }


def restore(before: Sample, changed: Mapping[str, Any]) -> Sample:
    """Return `before` with packed changes applied."""
    return dataclasses.replace(before, **changed)


def first_sample(photo: Photo, known: Mapping[str, Any]) -> Sample:
    """Return the sample that a photograph starts as, with what its source already knows of it."""
    return Sample(**{"id": "", **known, "photo": photo, "known": frozenset(known)})
