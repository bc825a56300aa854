"""A sample to the members of a shard and back: encoded pictures, the camera and one JSON, with bytes that do not vary.

Packing members into tar files is left to `shards`; which samples are packed, to the pipeline.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from ...manifests.config import canonical_json
from ..arrays import Array, Pixels
from ..camera import Camera
from ..depth import MEMBER as DEPTH
from ..depth import decode_depth, encode_depth
from ..images.grey_png import open_grey
from ..sample import Sample

IMAGE_SUFFIXES = ("jpg", "webp", "png")
"""Members that may hold the picture."""
BEARD = "beard.png"
"""Member that tells where hair is beard."""


@dataclass(frozen=True)
class Encoding:
    """How pictures are stored in shards."""

    image: Literal["jpg", "webp", "png"] = "jpg"
    """jpg is lossy at `quality`; webp and png are lossless."""
    quality: int = 95
    """JPEG quality, 1 to 100; chroma is kept at full resolution."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"expected a JPEG quality of 1 to 100, got {self.quality}")


def encode_image(image: Pixels, encoding: Encoding) -> bytes:
    """Encode an (H, W, 3) uint8 sRGB picture."""
    options = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, encoding.quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, 101],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
    }[encoding.image]
    return _encode(f".{encoding.image}", np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8), options)


def encode_grey(image: Pixels) -> bytes:
    """Encode an (H, W) uint8 mask or class map as PNG."""
    return _encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _encode(suffix: str, image: Pixels, options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, image, options)
    if not done:
        raise ValueError(f"OpenCV could not encode a {image.shape} picture as {suffix}")
    return bytes(data)


def decode_image(data: bytes) -> Pixels:
    """Decode a picture member to (H, W, 3) uint8 sRGB.

    Raises:
        ValueError: the bytes are no picture.
    """
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"expected an encoded picture, got {len(data)} bytes that do not decode")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


FEW = 16
"""Masks and class maps that a process decodes by OpenCV before it loads the faster loop, which takes 1 to 2 s of CPU."""
LARGE = 1 << 24
"""Pixels above which OpenCV is not asked: it raises errors of its own."""
_DECODED = itertools.count()


def decode_grey(data: bytes | memoryview, place: Pixels | None = None) -> Pixels:
    """Decode a mask or class map to (H, W) uint8.

    Args:
        data: the encoded picture.
        place: memory that is written and returned where it has the picture's size; other pictures are returned in their own.

    Raises:
        ValueError: the bytes are no 8-bit single-channel picture.
    """
    png = open_grey(data)
    if png is not None and place is None and png.size[0] * png.size[1] <= LARGE and next(_DECODED) < FEW:
        png.rows()  # proves what OpenCV forgives
    elif png is not None:
        pixels = np.empty(png.size, dtype=np.uint8) if place is None or place.shape != png.size else place
        png.decode(pixels)
        return pixels
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"expected an 8-bit grey PNG, got {None if image is None else (image.shape, image.dtype)}")
    return np.asarray(image, dtype=np.uint8)


def camera_json(camera: Camera) -> bytes:
    """Return the camera member: the 25 float32 numbers, each as the shortest decimal that reads back to it."""
    return ("[" + ",".join(_shortest(value) for value in camera.label()) + "]").encode()


def _shortest(value: np.float32) -> str:
    return "0.0" if value == 0 else np.format_float_positional(value, trim="0")


def encode_members(sample: Sample, encoding: Encoding) -> dict[str, bytes]:
    """Encode a sample's picture, mask, class map, beard, depth map and camera; the JSON member is added when the set is packed.

    Raises:
        ValueError: the sample has no image.
    """
    members: dict[str, bytes] = {encoding.image: encode_image(sample.require("image"), encoding)}
    if sample.mask is not None:
        members["mask.png"] = encode_grey(sample.mask)
    if sample.parsing is not None:
        members["seg.png"] = encode_grey(sample.parsing)
    if sample.beard is not None:
        members[BEARD] = encode_grey(sample.beard)
    if sample.depth is not None:
        members[DEPTH] = encode_depth(sample.depth)
    if sample.camera is not None:
        members["cam.json"] = camera_json(sample.camera)
    return members


def row_json(row: Mapping[str, Any]) -> bytes:
    """Return the JSON member of a manifest row: what a trainer or auditor may want beside the pixels."""
    return canonical_json({key: value for key, value in row.items() if value not in (None, "", [], {})}).encode()


@dataclass(frozen=True, eq=False)
class Decoded:
    """One sample as read back from a shard."""

    id: str
    image: Pixels
    """(S, S, 3) uint8 sRGB."""
    mask: Pixels | None
    parsing: Pixels | None
    camera: Camera | None
    record: dict[str, Any]
    """The JSON member."""
    depth: Array | None = None
    """(S, S) float32 distance along the optical axis in world units, 0 where unknown; rendered heads only."""
    beard: Pixels | None = None
    """(S, S) 255 where hair is beard, else 0; of sets that were built with `parse.beards`."""


def decode_members(key: str, members: Mapping[str, bytes]) -> Decoded:
    """Decode a shard's sample.

    Raises:
        ValueError: there is no picture, or a member does not decode; the message names key and member.
    """
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if suffix in members), None)
    if suffix is None:
        raise ValueError(f"sample {key}: expected one of {', '.join(IMAGE_SUFFIXES)}, got {sorted(members)}")
    name = suffix
    try:
        image = decode_image(members[suffix])
        name = "mask.png"
        mask = decode_grey(members[name]) if name in members else None
        name = "seg.png"
        parsing = decode_grey(members[name]) if name in members else None
        name = BEARD
        beard = decode_grey(members[name]) if name in members else None
        name = DEPTH
        depth = decode_depth(members[name]) if name in members else None
        name = "cam.json"
        camera = Camera.from_label(np.array(json.loads(members[name]))) if name in members else None
        name = "json"
        record = json.loads(members[name]) if name in members else {}
    except ValueError as error:
        raise ValueError(f"sample {key}, member {name}: {error}") from error
    return Decoded(key, image, mask, parsing, camera, record, depth, beard)
