"""A sample, kept or refused, as the row of the manifest that tells of it; rounded, so that rows compare across machines."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ...datasets import warp
from ...datasets.arrays import Array, Pixels
from ...datasets.sample import Drop, PhotoInfo, Sample, SourceImage
from ...datasets.shards.codec import IMAGE_SUFFIXES
from ...datasets.sources.base import Source
from ...manifests.config import canonical_json
from ...manifests.identity import sample_id
from .work import FileResult, read_whole

_THUMBNAIL = 160


@dataclass(frozen=True, eq=False)
class Refused:
    """A sample as it was when a stage refused it."""

    sample: Sample
    stage: str
    reason: str
    detail: str
    value: float | None
    outcome: str

    @property
    def id(self) -> str:
        """The id of its row."""
        return self.sample.id or sample_id(self.sample.photo.sha256, 0)

    @classmethod
    def by(cls, sample: Sample, stage: str, drop: Drop) -> Refused:
        """Note that `stage` refused `sample`."""
        return cls(sample, stage, drop.reason, drop.detail, drop.value, drop.outcome)


def numbers(values: Array, digits: int = 6) -> list[float]:
    """Return an array's values, flat and rounded, as plain floats without negative zero."""
    return [round(float(value), digits) + 0.0 for value in np.asarray(values, dtype=np.float64).reshape(-1)]


def file_row(sha256: str, info: PhotoInfo | None, drop: Drop, stage: str) -> dict[str, Any]:
    """Return the row of a file that was refused before a head was looked for."""
    row = {
        "id": sample_id(sha256, 0),
        "status": drop.outcome,
        "reason": drop.reason,
        "detail": drop.detail,
        "value": drop.value,
        "stage": stage,
        "sha256": sha256,
        "head_index": -1,
    }
    return {**row, **(_info(info) if info else {})}


def named(result: FileResult, source: Source, image: SourceImage) -> FileResult:
    """Give the result of a file that took its worker down a name, so that it is not tried again on every run."""
    if result.work_key or result.stage != "worker":
        return result
    try:
        _, sha256, work_key = read_whole(source, image)
    except Drop:
        return result
    row = file_row(sha256, None, Drop(result.reason, result.detail), "worker")
    head = (row["id"], row["status"], canonical_json(row))
    return dataclasses.replace(result, work_key=work_key, sha256=sha256, heads=(head,))


def kept_row(sample: Sample, members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the row of a sample that passed every stage."""
    image = next(members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members)
    assert sample.image is not None
    return {
        **_common(sample),
        "status": "kept",
        "image_sha256": hashlib.sha256(image).hexdigest(),
        "pixel_sha256": hashlib.sha256(np.ascontiguousarray(sample.image).data).hexdigest(),
    }


def refused_row(refused: Refused) -> dict[str, Any]:
    """Return the row of a sample that a stage refused; a photograph without any head has head_index -1."""
    sample = refused.sample
    return {
        **_common(sample),
        "id": refused.id,
        "head_index": sample.head_index if sample.id else -1,
        "status": refused.outcome,
        "reason": refused.reason,
        "detail": refused.detail,
        "value": refused.value if refused.value is None or math.isfinite(refused.value) else None,
        "stage": refused.stage,
    }


def _info(info: PhotoInfo) -> dict[str, Any]:
    return {
        "width": info.width,
        "height": info.height,
        "format": info.format,
        "orientation": info.orientation,
        "num_frames": info.num_frames,
        "bit_depth": info.bit_depth,
        "flags": " ".join(info.flags),
    }


def _common(sample: Sample) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": sample.id,
        "sha256": sample.photo.sha256,
        "head_index": sample.head_index,
        "parent": sample.parent,
        "derivation": sample.derivation,
        "synthetic": sample.is_rendered,
        "scores": {name: round(float(value), 6) for name, value in sorted(sample.scores.items()) if math.isfinite(value)},
        "notes": dict(sorted(sample.notes.items())),
        **_info(sample.photo.info),
    }
    if sample.head is not None:
        row["num_heads"] = sample.head.num_heads
        row["head_box"] = numbers(np.asarray(sample.head.box), 3)
        row["head_confidence"] = round(float(sample.head.confidence), 6)
        row["head_kind"] = sample.head.kind
    if sample.crop is not None:
        row["crop"] = numbers(sample.crop.matrix, 9)
        row["quad"] = numbers(warp.quad(sample.crop.matrix, sample.crop.size), 3)
        row["pad_ratio"] = round(sample.crop.pad_ratio, 6)
        row["upscale"] = round(sample.crop.upscale, 6)
    if sample.camera is not None:
        row["camera"] = [float(value) for value in sample.camera.label()]
        row["yaw_degrees"], row["pitch_degrees"], row["roll_degrees"] = numbers(
            np.degrees([sample.camera.yaw, sample.camera.pitch, sample.camera.roll]), 4
        )
    if sample.landmarks is not None:
        row["landmarks"] = numbers(sample.landmarks, 2)
    return row


def thumbnail(sample: Sample) -> bytes:
    """Return a small JPEG of a refused sample: of its crop, or of its photograph where it has none yet.

    Raises:
        Drop: the photograph does not decode.
    """
    image: Pixels = sample.photo.pixels if sample.image is None else sample.image
    scale = _THUMBNAIL / max(image.shape[:2])
    side = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, side, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 80])[1])
