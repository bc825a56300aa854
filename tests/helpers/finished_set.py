"""A small finished data set for tests: a ray-cast ball head with eyes, nose, ears and hair, seen from known cameras.

The pictures, masks, class maps and labels are exact by construction; what a build writes beside them is written here with
the same public functions (codec, shards, store) so that the readers under test meet real files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from spherehead.datasets import classes
from spherehead.datasets.camera import Camera, canonical_to_world
from spherehead.datasets.canonical_face import canonical_vertices
from spherehead.datasets.reasons import REASONS
from spherehead.datasets.sample import Photo, Sample
from spherehead.datasets.shards.codec import Encoding, encode_members, row_json
from spherehead.datasets.shards.tar import write_shard
from spherehead.manifests.frames import recount
from spherehead.manifests.identity import content_sha256, derived_id, sample_id
from spherehead.manifests.schema import HEADER_VERSION, flatten, schema_for, to_table
from spherehead.manifests.store import HEADER, MANIFEST, ORIGINS, Header, write_bytes, write_json, write_table

CENTRE = np.array([0.0, -0.005, -0.03])
RADII = np.array([0.18, 0.245, 0.215])
SPOTS = (  # class, direction on the head, angular size
    ("left_eye", (0.36, 0.12, 0.9), 0.14),
    ("right_eye", (-0.36, 0.12, 0.9), 0.14),
    ("left_brow", (0.36, 0.33, 0.85), 0.12),
    ("right_brow", (-0.36, 0.33, 0.85), 0.12),
    ("nose", (0.0, -0.16, 1.0), 0.13),
    ("upper_lip", (0.0, -0.41, 0.9), 0.1),
    ("lower_lip", (0.0, -0.5, 0.87), 0.1),
    ("left_ear", (1.0, 0.0, -0.05), 0.2),
    ("right_ear", (-1.0, 0.0, -0.05), 0.2),
)
DECIDED = ("split", "component", "shard", "index_in_shard", "offset", "num_bytes", "weight", "cluster", "duplicate_of", "chain")
"""Columns that the whole set decides: they are not in a sample's record."""
COLOURS = {"skin": (214, 160, 130), "hair": (70, 45, 35), "background": (188, 200, 214), "cloth": (60, 90, 140)}


@dataclass(frozen=True)
class View:
    """One picture of the set."""

    yaw: float
    pitch: float = 0.0
    roll: float = 0.0
    status: str = "kept"
    reason: str = ""
    detail: str = ""
    source: str = "studio"
    path: str = ""
    license: str = "CC0-1.0"
    split: str = "train"
    scores: Mapping[str, float] = field(default_factory=dict)
    mirror_of: int = -1
    cluster_of: int = -1


VIEWS: tuple[View, ...] = (
    View(0),
    View(12, 3, 2),
    View(-14, -2, -3),
    View(33, 8, split="val"),
    View(-35, 6, 5),
    View(62, 4),
    View(-64, -6, -4, license="CC-BY-4.0"),
    View(88, 0),
    View(-93, 10, source="street", license=""),
    View(131, 15, source="street", split="val"),
    View(178, -8, source="street"),
    View(5, 24),
    View(-8, -27),
    View(0, mirror_of=4),
    View(1, 1, status="dropped", reason="near_duplicate", detail="distance 3 of 64", cluster_of=0),
    View(40, 0, status="dropped", reason="blurred", detail="blur_px 4.1 > 3", source="street"),
    View(-70, 30, status="dropped", reason="pose_unsure", detail="confidence 0.21 < 0.50"),
)
LOST: tuple[tuple[str, str, str], ...] = (
    ("truncated", "street/cut.jpg", "image file is truncated (12 bytes not processed)"),
    ("not_an_image", "readme.html", "the bytes start with <html>"),
    ("exact_duplicate", "copy of a.jpg", "same bytes as another input"),
    ("no_head", "wall.jpg", "best score 0.08 < 0.50"),
)


def render(camera: Camera, size: int, tint: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ray-cast the ball head: (S, S, 3) picture, (S, S) mask and (S, S) class map."""
    axis = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(axis, axis)
    local = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(camera.intrinsics).T
    rays = local @ camera.cam2world[:3, :3].T
    origin = (camera.position - CENTRE) / RADII
    scaled = rays / RADII
    a, b, c = (scaled**2).sum(-1), (scaled * origin).sum(-1), (origin**2).sum() - 1.0
    discriminant = b * b - a * c
    hit = discriminant > 0
    depth = (-b - np.sqrt(np.where(hit, discriminant, 0))) / a
    unit = origin + depth[..., None] * scaled
    parsing = np.where((unit[..., 1] > 0.62) | (unit[..., 2] < -0.12), classes.INDEX["hair"], classes.INDEX["skin"])
    for name, direction, reach in SPOTS:
        spot = np.array(direction) / np.linalg.norm(direction)
        parsing = np.where(unit @ spot > math.cos(reach), classes.INDEX[name], parsing)
    parsing = np.where(hit, parsing, 0).astype(np.uint8)
    table = classes.PALETTE.astype(float)
    for name, colour in COLOURS.items():
        table[classes.INDEX[name]] = colour
    normal = unit / RADII
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = 0.55 + 0.45 * np.clip(normal @ np.array([0.35, 0.6, 0.72]), 0, 1)
    image = table[parsing] * np.where(hit, light, 1.0)[..., None] * (1.0 - tint)
    return np.clip(image, 0, 255).astype(np.uint8), np.where(hit, 255, 0).astype(np.uint8), parsing


def row_of(view: View, index: int, size: int, quick: bool) -> tuple[dict[str, Any], Sample]:
    """Return the manifest row (scores and notes still nested) and the sample of one view."""
    camera = Camera.look_at(math.radians(view.yaw), math.radians(view.pitch), math.radians(view.roll))
    digest = content_sha256(f"photograph {index}".encode())
    key = sample_id(digest)
    if quick:
        image = mask = parsing = np.zeros((size, size), np.uint8)
    else:
        image, mask, parsing = render(camera, size, 0.03 * (index % 7))
    points = canonical_to_world(canonical_vertices()[::6][:68])
    seen = abs(view.yaw) < 75
    sample = Sample(
        key, Photo.of_pixels(image), image=image, mask=mask, parsing=parsing, camera=camera,
        landmarks=(camera.project(points)[0] * size).astype(np.float32) if seen else None,
    )  # fmt: skip
    areas = np.bincount(parsing.ravel(), minlength=19)[:19] / parsing.size
    scores = {
        "head_px": 310.0 + 37 * (index % 9), "blur_px": 0.5 + 0.2 * (index % 13), "pose_confidence": 0.6 + 0.02 * (index % 17),
        **{f"area_{name}": float(area) for name, area in zip(classes.CLASSES, areas, strict=True)}, **view.scores,
    }  # fmt: skip
    row = {
        "id": key, "status": view.status, "reason": view.reason, "detail": view.detail, "sha256": digest, "head_index": 0,
        "stage": "quality" if view.reason else "", "num_heads": 1, "parent": "", "derivation": "",
        "split": view.split if view.status == "kept" else "", "component": key, "width": 1600, "height": 1200, "format": "jpeg",
        "orientation": 1, "num_frames": 1, "bit_depth": 8, "flags": "", "head_box": [400.0, 200.0, 500.0, 640.0],
        "head_confidence": 0.9, "head_kind": "mesh" if seen else "pose", "pad_ratio": 0.01 * (index % 4), "upscale": 0.8,
        "camera": [float(value) for value in camera.label()], "yaw_degrees": math.degrees(camera.yaw),
        "pitch_degrees": math.degrees(camera.pitch), "roll_degrees": math.degrees(camera.roll), "weight": 1.0,
        "cluster": "", "duplicate_of": "", "synthetic": False, "license": view.license, "chain": "c0",
        "attribution": "A. Painter" if view.license == "CC-BY-4.0" else "",
        "scores": scores, "notes": {"pose_source": "mesh" if seen else "pose"},
    }  # fmt: skip
    return row, sample


def relate(views: Iterable[View], made: list[tuple[dict[str, Any], Sample]]) -> None:
    """Turn rows that mirror another one into its derived copy, and link near duplicates."""
    for index, view in enumerate(views):
        row, sample = made[index]
        if view.mirror_of >= 0:
            parent, original = made[view.mirror_of]
            assert original.camera is not None and original.image is not None
            assert original.mask is not None and original.parsing is not None
            key = derived_id(parent["id"], "augment", 0)
            camera = original.camera.mirrored()
            image = np.ascontiguousarray(original.image[:, ::-1])
            mask = np.ascontiguousarray(original.mask[:, ::-1])
            parsing = classes.mirror_parsing(original.parsing)
            made[index] = (
                {
                    **parent, "id": key, "parent": parent["id"], "derivation": '{"copy":0,"mirror":true,"step":"augment"}',
                    "camera": [float(value) for value in camera.label()], "yaw_degrees": math.degrees(camera.yaw),
                    "roll_degrees": math.degrees(camera.roll),
                },
                Sample(key, sample.photo, image=image, mask=mask, parsing=parsing, camera=camera),
            )  # fmt: skip
        if view.cluster_of >= 0:
            best = made[view.cluster_of][0]
            row["cluster"] = best["cluster"] = min(row["id"], best["id"])
            row["duplicate_of"], row["component"] = best["id"], best["component"]


def build(
    folder: Path,
    views: tuple[View, ...] = VIEWS,
    lost: tuple[tuple[str, str, str], ...] = LOST,
    size: int = 96,
    shard_size: int = 5,
    run: Mapping[str, Any] | None = None,
    repeat: int = 1,
    encoding: Encoding = Encoding(),  # noqa: B008  (frozen)
    people: int = 0,
) -> Path:
    """Write a finished set and return its folder.

    Args:
        folder: where to.
        views: the pictures.
        lost: (reason, path, detail) of files in which no head was looked for.
        size: side of the crops.
        shard_size: samples per shard.
        run: content of run.json; None writes none.
        repeat: rows per picture: above 1 only the first is drawn and packed, the others are table rows (for speed tests).
        encoding: how pictures are stored.
        people: above 0, the pictures count as rendered views of this number of persons in turn.
    """
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    made = [row_of(view, index, size, quick=False) for index, view in enumerate(views)]
    for index, (row, _) in enumerate(made if people else []):
        row.update(synthetic=True, identity=f"person {index % people}")
    relate(views, made)
    rows, origins = [row for row, _ in made], []
    for index, (view, (row, sample)) in enumerate(zip(views, made, strict=True)):
        if view.mirror_of < 0:
            path = view.path or f"person {index}/portrait {index}.jpg"
            origins.append((view.source, path, row["sha256"], view.status, view.reason, view.detail))
        if view.status != "kept":
            image = cv2.cvtColor(np.asarray(sample.image), cv2.COLOR_RGB2BGR)
            write_bytes(folder / "quarantine" / view.reason / f"{row['id']}.jpg", bytes(cv2.imencode(".jpg", image)[1]))
    for index, (reason, path, detail) in enumerate(lost):
        digest = rows[0]["sha256"] if rows and reason == "exact_duplicate" else content_sha256(f"lost {index}".encode())
        outcome = REASONS[reason][0]
        origins.append(("studio", path, digest, outcome, reason, detail))
        if outcome in ("dropped", "failed"):
            rows.append(
                {
                    "id": sample_id(digest), "status": outcome, "reason": reason, "detail": detail, "sha256": digest,
                    "head_index": -1, "stage": "decode", "weight": None, "scores": {}, "notes": {},
                }
            )  # fmt: skip
    rows += [
        {**rows[k % len(views)], "id": f"{k:016x}", "shard": "", "yaw_degrees": (k * 37.7) % 360 - 180}
        for k in range(len(views) * (repeat - 1))
    ]
    by_split: dict[str, list[tuple[dict[str, Any], Sample]]] = {}
    for row, sample in sorted(made, key=lambda pair: str(pair[0]["id"])):
        if row["status"] == "kept":
            by_split.setdefault(row["split"], []).append((row, sample))
    entries = []
    for split, members in sorted(by_split.items()):
        for start in range(0, len(members), shard_size):
            part = members[start : start + shard_size]
            entries.append(_write_part(folder, f"{split}-{start // shard_size:06d}.tar", split, part, encoding))
    finish(folder, rows, origins, entries, run)
    return folder


def _write_part(folder: Path, name: str, split: str, part: list[tuple[dict[str, Any], Sample]], encoding: Encoding) -> Any:
    packed = []
    for index, (row, sample) in enumerate(part):
        encoded = encode_members(sample, encoding)
        row.update(shard=name, index_in_shard=index, image_sha256=content_sha256(encoded[encoding.image]))
        row["pixel_sha256"] = content_sha256(sample.require("image").tobytes())
        landmarks = (
            {} if sample.landmarks is None else {"landmarks": np.round(sample.landmarks, 2).astype(float).ravel().tolist()}
        )
        facts = {name: value for name, value in row.items() if name not in DECIDED}
        packed.append((row["id"], {**encoded, "json": row_json({**facts, **landmarks})}))
    entry, placed = write_shard(folder / name, split, packed)
    for (row, _), place in zip(part, placed, strict=True):
        row.update(offset=place.offset, num_bytes=place.num_bytes)
    return entry


def finish(
    folder: Path, rows: list[dict[str, Any]], origins: list[Any], entries: list[Any], run: Mapping[str, Any] | None
) -> None:
    """Write the manifest, the origins, the header and, where given, run.json of rows that are already placed."""
    import pyarrow as pa

    score_names = {name for row in rows for name in row.get("scores", {})}
    note_names = {name for row in rows for name in row.get("notes", {})}
    schema = schema_for(score_names, note_names)
    flat = [flatten(row) for row in sorted(rows, key=lambda row: str(row["id"]))]
    digest = write_table(folder / MANIFEST, [to_table(flat, schema)], schema)
    names = ("source", "path", "sha256", "outcome", "reason", "detail")
    columns = {name: pa.array([row[k] for row in origins], pa.string()) for k, name in enumerate(names)}
    table = pa.table(columns)
    write_table(folder / ORIGINS, [table], table.schema)
    header = Header(
        schema_version=HEADER_VERSION, tool_version="0.1.0",
        recipe={"name": "test", "seed": 0, "stages": [{"stage": "align", "size": 96}]},
        chains={"c0": [{"stage": "align", "version": 1, "backend": "spherehead", "settings": {"size": 96}, "weights": []}]},
        environment={"numpy": np.__version__, "opencv": "4"},
        counts=recount(to_table(flat, schema).to_pandas(), table.to_pandas()),
        reasons=dict(Counter(str(row["reason"]) for row in rows if row["reason"])), shards=tuple(entries),
        manifest_sha256=digest,
    )  # fmt: skip
    write_json(folder / HEADER, header.sealed())
    if run is not None:
        write_json(folder / "run.json", dict(run))
