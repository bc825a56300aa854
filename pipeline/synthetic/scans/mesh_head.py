"""A user's scan as a head to draw: placed in the head frame by four landmarks that a sidecar beside the mesh tells.

`scan.json` beside `scan.glb` holds the landmarks in the mesh's own frame and unit, whose scan it is, and may name a file of
classes. Reading meshes is `meshes`' business, rendering them `source`'s.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.camera import canonical_to_world
from ....datasets.canonical_face import canonical_vertices
from ....datasets.classes import CLASSES, INDEX
from ....datasets.sample import Rights
from ....datasets.sources.folder import open_regular
from ....datasets.sources.names import is_text
from ....manifests.config import unknown
from ....manifests.parsing import parse_json
from ..assets.formats import AssetError
from ..hair.strands import Strands
from ..people.body import vertex_normals
from ..people.parts import Part
from ..people.placement import Placement, similarity
from .meshes import MeshLimits, Surface, read_scan

LANDMARKS: Mapping[str, int] = {"left_eye_outer": 263, "right_eye_outer": 33, "nose_tip": 1, "chin": 199}
"""Landmark -> its vertex in the canonical face: outer corners of both eyes (left is the subject's), tip of the nose, and the
foremost point of the chin in the middle.

On 16 rendered people, their landmarks found by MediaPipe, these four gave back the placement by eight landmarks, which was
used then, within 1.9 degrees (median; elevation -0.3 +- 2.5) and 2.7 +- 2.0 per cent of scale; with the lowest point of the
chin it was 3.6 (-6.1 +- 9.0)."""
MIN_DEPTH = 0.25
"""Least share of the canonical landmarks' volume, at equal size, that landmarks must span; less is nearly one plane."""
MAX_SIDECAR = 64 << 20
"""Bytes of a sidecar, or of a file of classes, that are read."""
REACH = 2.0
"""World units from the origin within which every vertex must lie; cameras are at 2.7."""


@cache
def places() -> Floats:
    """Return the (4, 3) places of the landmarks in the head frame, in the order of `LANDMARKS`."""
    return canonical_to_world(canonical_vertices()[list(LANDMARKS.values())])


@dataclass(frozen=True, eq=False)
class Sidecar:
    """What stands beside a mesh."""

    path: Path
    landmarks: Floats
    """(4, 3) in the mesh's own frame, in the order of `LANDMARKS`."""
    rights: Rights
    classes: str = ""
    """Name of a file beside the mesh with one class a vertex; empty where there is none."""
    bald: bool = False
    """Whether the scan shows no hair on its head."""


@dataclass(frozen=True, eq=False)
class MeshHead:
    """A scan in the head frame, ready to be drawn."""

    parts: tuple[Part, ...]
    placement: Placement
    residual: float
    """Root mean square distance of the placed landmarks from the canonical ones, in world units."""
    has_classes: bool
    num_flat: int
    """Faces without an area, left out."""
    num_tangled: int
    """Edges of more than two faces."""
    strands: tuple[Strands, ...] = ()
    """Hair that was grown on it."""


def sidecar_of(mesh: Path) -> Path:
    """Return the path of the sidecar of a mesh."""
    return mesh.with_suffix(".json")


def read_sidecar(path: Path) -> Sidecar:
    """Read a sidecar.

    Raises:
        AssetError: it is missing, no JSON, lacks a landmark, or has a field that is not known.
    """
    try:
        with open_regular(os.fsencode(path)) as file:
            told = parse_json(file.read(MAX_SIDECAR))
    except OSError as error:
        names = ", ".join(LANDMARKS)
        raise AssetError(f"{path}: expected a sidecar with the landmarks {names}, found none ({error.strerror})") from error
    except ValueError as error:
        raise AssetError(f"{path}: expected JSON, got something else ({error})") from error
    rights = {field.name for field in fields(Rights)}
    if not isinstance(told, dict):
        raise AssetError(f"{path}: expected an object with 'landmarks', got {type(told).__name__}")
    for name, value in told.items():
        if name not in {"landmarks", "classes", "bald", *rights}:
            raise AssetError(f"{path}: {unknown(name, ['landmarks', 'classes', 'bald', *sorted(rights)], 'a sidecar')}")
        if name == "bald" and not isinstance(value, bool):
            raise AssetError(f"{path}: expected true or false in 'bald', got {value!r}")
        if name not in ("landmarks", "bald") and not (isinstance(value, str) and is_text(value)):
            raise AssetError(f"{path}: expected text in '{name}', got {value!r}")
    words = {name: value for name, value in told.items() if name in rights}
    return Sidecar(
        path, _landmarks(path, told.get("landmarks")), Rights(**words), told.get("classes", ""), told.get("bald", False)
    )


def _landmarks(path: Path, told: Any) -> Floats:
    expected = f"{path}: expected the landmarks {', '.join(LANDMARKS)}, each as [x, y, z]"
    if not isinstance(told, dict):
        raise AssetError(f"{expected}; got {'none' if told is None else type(told).__name__}")
    missing, others = [name for name in LANDMARKS if name not in told], [name for name in told if name not in LANDMARKS]
    if missing or others:
        what = [f"no {', '.join(missing)}"] * bool(missing) + [f"an unknown {', '.join(others)}"] * bool(others)
        raise AssetError(f"{expected}; got {' and '.join(what)}")
    for name in LANDMARKS:
        value = told[name]
        numbers = isinstance(value, list) and len(value) == 3 and all(isinstance(x, int | float) for x in value)
        if not numbers or not np.isfinite(np.array(value, dtype=np.float64)).all():
            raise AssetError(f"{expected}; {name} is {value!r}")
    return np.array([told[name] for name in LANDMARKS], dtype=np.float64)


def build_head(mesh: Path, sidecar: Sidecar, limits: MeshLimits | None = None, max_residual: float = math.inf) -> MeshHead:
    """Read a scan and place it.

    Args:
        mesh: GLB, OBJ or PLY.
        sidecar: of that mesh.
        limits: what the scan may be.
        max_residual: largest residual in world units.

    Raises:
        AssetError: mesh, landmarks or classes are no good; the message names the file.
    """
    placement, residual = place_landmarks(sidecar, max_residual)
    scan = read_scan(mesh, limits)
    reach = max(float(np.linalg.norm(placement.apply(surface.points), axis=1).max()) for surface in scan.surfaces)
    if reach > REACH:
        raise AssetError(
            f"{mesh}: reaches {reach:.1f} world units from the head's middle, more than {REACH:g}; cut it to the bust"
        )
    classes = read_classes(mesh.parent / sidecar.classes, scan.num_vertices) if sidecar.classes else None
    parts = tuple(_part(f"scan{index}", surface, placement, classes) for index, surface in enumerate(scan.surfaces))
    return MeshHead(_facing_out(parts), placement, residual, classes is not None, scan.num_flat, scan.num_tangled)


def place_landmarks(sidecar: Sidecar, max_residual: float = math.inf) -> tuple[Placement, float]:
    """Fit the similarity from the mesh's frame to the head frame, and return it with its residual in world units.

    Raises:
        AssetError: the landmarks lie nearly in one plane, only a mirrored head could have them so, or they fit no head.
    """
    volume, expected = _volume(sidecar.landmarks), _volume(places())
    if abs(volume) < MIN_DEPTH * abs(expected):
        raise AssetError(
            f"{sidecar.path}: the landmarks lie nearly in one plane; expected a nose tip that stands out before eyes and chin"
        )
    if volume * expected < 0:
        raise AssetError(
            f"{sidecar.path}: only a mirrored head could have its landmarks so; left is the subject's left: exchange the eyes, "
            "or, if they are right, the mesh itself is mirrored (its axes are left-handed)"
        )
    placement = similarity(sidecar.landmarks, places())
    away = np.linalg.norm(placement.apply(sidecar.landmarks) - places(), axis=1)
    residual = float(np.sqrt((away**2).mean()))
    if residual > max_residual:
        each = ", ".join(f"{name} {value:.3f}" for name, value in zip(LANDMARKS, away, strict=True))
        raise AssetError(
            f"{sidecar.path}: the landmarks fit no head: {residual:.3f} world units (root mean square) from their places, more "
            f"than max_residual {max_residual:g} ({each}); check the points"
        )
    return placement, residual


def _volume(points: Floats) -> float:
    """Return six times the signed volume of a tetrahedron whose size is brought to 1."""
    edges = points[1:] - points[0]
    size = float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean()))
    return float(np.linalg.det(edges)) / max(size, 1e-300) ** 3 if size > 0 else 0.0


def read_classes(path: Path, num_vertices: int) -> Array:
    """Read one class a line, by number or name, for the vertices of a mesh in the file's order.

    Returns:
        (V,) uint8.

    Raises:
        AssetError: it is missing, or has other lines than one known class a vertex.
    """
    try:
        with open_regular(os.fsencode(path)) as file:
            words = file.read(MAX_SIDECAR).decode("utf-8").split()
    except (OSError, ValueError) as error:
        raise AssetError(f"{path}: expected one class a line for {num_vertices} vertices ({error})") from error
    known = {**INDEX, **{str(number): number for number in INDEX.values()}}
    wrong = next((word for word in words if word not in known or known[word] == INDEX["background"]), None)
    if wrong is not None:
        raise AssetError(f"{path}: expected classes 1 to {len(CLASSES) - 1} or their names, got {wrong!r}")
    if len(words) != num_vertices:
        raise AssetError(f"{path}: expected {num_vertices} lines, one a vertex of the mesh, got {len(words)}")
    return np.array([known[word] for word in words], dtype=np.uint8)


def _part(name: str, surface: Surface, placement: Placement, classes: Array | None) -> Part:
    points = placement.apply(surface.points)
    _, merged = np.unique(surface.points, axis=0, return_inverse=True)  # points are split where textures are cut
    merged = merged.reshape(-1)
    places_of = np.zeros((int(merged.max()) + 1, 3))
    places_of[merged] = points
    normals = vertex_normals(places_of, merged[surface.faces])[merged]
    labels = np.full(len(surface.faces), INDEX["skin"], dtype=np.uint8)
    if classes is not None:
        first, second, third = classes[surface.vertices[surface.faces]].T
        labels = np.where(second == third, second, first)  # what two corners agree on, else the first
    return Part(name, points, normals, surface.faces, surface.uvs, surface.face_uvs, surface.texture, labels, "scan")


def _facing_out(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Turn faces and normals outwards where those of a file run the other way round."""
    middle = np.mean(np.vstack([part.points for part in parts]), axis=0)
    if sum(float(((part.points - middle) * part.normals).sum()) for part in parts) >= 0:
        return parts
    turned = [0, 2, 1]
    return tuple(
        dataclasses.replace(
            part, normals=-part.normals, faces=part.faces[:, turned].copy(), face_uvs=part.face_uvs[:, turned].copy()
        )
        for part in parts
    )
