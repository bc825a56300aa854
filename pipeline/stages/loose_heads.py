"""Cuts every head of photographs out with room around it, for networks that learn from photographs without labels.

A head keeps what the package's networks and MediaPipe's mesh tell of it, no truth. Training on them is `model.annotators`'
affair; labelled crops are made by `build`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets import warp
from ...datasets.arrays import Floats
from ...datasets.camera import rotation_z
from ...datasets.images.decode import VERSION as DECODING
from ...datasets.images.decode import DecodePolicy, decode
from ...datasets.sample import Drop, Head, HeadPose, Photo, Sample
from ...datasets.shards.codec import Encoding, encode_image
from ...datasets.shards.tar import write_shard
from ...datasets.sources.base import Refused, Source
from ...manifests.config import fingerprint
from ...manifests.identity import rng, sample_id
from ...manifests.store import write_json
from ..annotators.faces.head_fit import HeadFit
from ..annotators.heads.fusion import reader_share
from ..annotators.heads.reader import Square
from .detect import Detect, OpenDetect

VERSION = 1
STAGE = Detect(faces="all", least_head=48.0)
"""How heads are found where nothing else is asked for."""
SIDE = 288
"""Side of a cut head's picture in pixels."""
ROOM = 2.2
"""The same in sides of the head's canonical crop."""
LEAST = 48.0
"""Side in pixels of the photograph of the smallest canonical crops that are kept."""
CHUNK = 16
"""Photographs whose heads lie in one file."""


@dataclass
class Cut:
    """What was cut out of photographs."""

    files: list[Path] = field(default_factory=list)
    """Shards of heads, in the order of the photographs."""
    counts: Counter[str] = field(default_factory=Counter)
    """"photographs", "heads" and "faces" (heads with a mesh), and the reasons why files gave none."""


def cut_heads(
    sources: Sequence[Source], out: Path, stage: Detect = STAGE,
    tick: Callable[[Cut], None] = lambda cut: None,
) -> Cut:  # fmt: skip
    """Cut the heads of all photographs of some sources, or take what an earlier call left in the folder.

    Args:
        sources: opened sources.
        out: folder of the shards; each holds `png` and `json` of the heads of `CHUNK` photographs.
        stage: how heads are found.
        tick: called after each shard.
    """
    stage = stage.resolved()
    key = stage.key(fingerprint([VERSION, DECODING]))
    cut, opened = Cut(), list[OpenDetect]()
    out.mkdir(parents=True, exist_ok=True)
    for files in _chunks(_files(sources, cut.counts)):
        digests = [hashlib.sha256(data).hexdigest() for data in files]
        path = out / f"heads-{fingerprint([key, digests])[:16]}.tar"
        told = path.with_suffix(".json")
        if not (path.is_file() and told.is_file()):
            if not opened:
                opened.append(stage.open())
            counts = Counter[str]()
            heads = [
                head for data, digest in zip(files, digests, strict=True) for head in _heads(opened[0], data, digest, counts)
            ]
            write_shard(path, "train", sorted(heads))
            write_json(told, dict(counts))
        cut.files.append(path)
        cut.counts.update(json.loads(told.read_bytes()))
        tick(cut)
    for detect in opened:
        detect.close()
    return cut


def _files(sources: Sequence[Source], counts: Counter[str]) -> Iterator[bytes]:
    """Read all files once each, whatever their names; count those that cannot be read."""
    seen = set[bytes]()
    for source in sources:
        for entry in source.entries():
            if isinstance(entry, Refused):
                counts[entry.reason] += 1
                continue
            try:
                data = source.read(entry)
            except Drop as drop:
                counts[drop.reason] += 1
                continue
            if (digest := hashlib.sha256(data).digest()) not in seen:
                seen.add(digest)
                yield data


def _chunks(files: Iterator[bytes]) -> Iterator[list[bytes]]:
    chunk = list[bytes]()
    for data in files:
        chunk.append(data)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _heads(detect: OpenDetect, data: bytes, digest: str, counts: Counter[str]) -> list[tuple[str, dict[str, bytes]]]:
    """Return (key, members) of the heads of one file; count them, or why there are none."""
    try:
        decoded = decode(data, DecodePolicy())
        photo = Photo.of_pixels(decoded.pixels, digest)
        samples = list(detect.one(Sample("", photo), rng(0, digest, "loose")))
    except Drop as drop:
        counts[drop.reason] += 1
        return []
    counts["photographs"] += 1
    found = []
    for sample in samples:
        head: Head = sample.require("head")
        if head.pose is None or head.pose.scale < LEAST:
            counts["small_head"] += 1
            continue
        counts.update(heads=1, faces=int(head.mesh is not None))
        found.append((sample_id(digest, sample.head_index), _members(photo, head, head.pose)))
    return found


def _members(photo: Photo, head: Head, pose: HeadPose) -> dict[str, bytes]:
    """Return the picture of a head, upright, and where the head frame lies in it as reader and mesh tell."""
    roll = math.atan2(pose.rotation[0, 1], -pose.rotation[1, 1])
    square = Square(float(pose.centre[0]), float(pose.centre[1]), ROOM * pose.scale, roll)
    matrix = square.matrix(SIDE)
    told: dict[str, Any] = {"read": _placed(matrix, square, pose.rotation, pose.centre, pose.scale)}
    if head.mesh is not None:
        fitted = HeadFit().fit(head.mesh)
        told["mesh"] = _placed(matrix, square, fitted.rotation, fitted.centre, fitted.scale)
        told["mesh"]["share"] = 1.0 - reader_share(pose.rotation, pose.spread)
    image = warp.warp(photo.pixels, matrix, SIDE, border="replicate")
    return {"png": encode_image(image, Encoding("png")), "json": json.dumps(told, sort_keys=True).encode()}


def _placed(matrix: Floats, square: Square, rotation: Floats, centre: Floats, scale: float) -> dict[str, Any]:
    """Return a head frame's rotation, centre and scale in pixels of a cut picture."""
    return {
        "rotation": (rotation_z(-square.angle) @ rotation).tolist(),
        "centre": warp.apply(matrix, np.asarray(centre)[None])[0].tolist(),
        "scale": scale * SIDE / square.side,
    }
