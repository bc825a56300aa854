"""Reads a user's head scan - GLB, OBJ or PLY with a texture or colours at its vertices - through trimesh, and checks it.

The only module that imports trimesh. Where the head lies is `mesh_head`'s business. What cannot be drawn truly is refused with
the file's name: numbers that are not finite, damage, a missing texture, no colours, tangles, more faces than wanted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ..assets.formats import AssetError

log = logging.getLogger(__name__)

SUFFIXES = (".glb", ".obj", ".ply")
MAX_TEXTURE = 4096
"""Side of a texture in pixels; larger ones are reduced."""
MAX_FLAT = 0.1
"""Share of faces without an area above which a scan counts as damaged; fewer are left out."""


@dataclass(frozen=True)
class MeshLimits:
    """What a scan may be."""

    max_faces: int = 1_000_000
    """Triangles."""
    max_megabytes: float = 512.0
    """Size of the file, looked at before it is read."""
    max_tangled: float = 0.05
    """Share of edges that may belong to more than two faces; a few do no harm to a picture."""


@dataclass(frozen=True, eq=False)
class Surface:
    """One mesh of one material."""

    points: Floats
    """(V, 3) in the file's own frame and unit."""
    faces: Array
    """(F, 3) int32."""
    uvs: Floats
    """(T, 2), v down."""
    face_uvs: Array
    """(F, 3) int32."""
    texture: Pixels
    """(H, W, 4) sRGB and opacity."""
    vertices: Array
    """(V,) number of each point among the file's own vertices."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan as read: surfaces, and what was left out of it."""

    surfaces: tuple[Surface, ...]
    num_vertices: int
    """Of the file."""
    num_flat: int
    """Faces without an area, left out."""
    num_tangled: int
    """Edges of more than two faces."""


def read_scan(path: Path, limits: MeshLimits | None = None) -> Scan:
    """Read a scan.

    Raises:
        AssetError: it cannot be read or drawn; the message names the file, what was expected and what came.
    """
    limits = limits or MeshLimits()
    _look_before(path, limits)
    parts = _load(path)
    num_faces = sum(len(part.faces) for part in parts)
    if not num_faces:
        raise AssetError(f"{path}: expected triangles, got none")
    if num_faces > limits.max_faces:
        raise AssetError(
            f"{path}: {num_faces:,} faces, more than max_faces {limits.max_faces:,}; reduce the mesh, or allow more"
        )
    tables = [(np.array(part.vertices, dtype=np.float64), np.array(part.faces, dtype=np.int64)) for part in parts]
    for points, faces in tables:
        if not np.isfinite(points).all():
            raise AssetError(
                f"{path}: expected finite coordinates, got {int((~np.isfinite(points)).any(axis=1).sum())} vertices without"
            )
        if faces.min() < 0 or faces.max() >= len(points):
            raise AssetError(f"{path}: expected faces of vertices 0 to {len(points) - 1}, got vertex {faces.max()}")
    numbers, num_vertices = _file_vertices(path, [points for points, _ in tables])
    surfaces: list[Surface] = []
    num_flat = 0
    for part, (points, faces), own in zip(parts, tables, numbers, strict=True):
        solid = _areas(points, faces) > 1e-12 * float(np.ptp(points, axis=0).max() ** 2)
        num_flat += int((~solid).sum())
        surfaces.append(_surface(path, part, points, faces, solid, own))
    if num_flat > MAX_FLAT * num_faces:
        raise AssetError(f"{path}: expected faces with an area, got {num_flat:,} of {num_faces:,} without; the mesh is damaged")
    tangled = sum(_tangled(surface, path, limits) for surface in surfaces)
    return Scan(tuple(surface for surface in surfaces if len(surface.faces)), num_vertices, num_flat, tangled)


def companions(path: Path) -> list[Path]:
    """Return the files that a mesh names: materials and textures, whether they are there or not."""
    return [path.parent / name for name in _named(path)]


def _look_before(path: Path, limits: MeshLimits) -> None:
    """Refuse by size, and by textures that are not there: trimesh would put a plain one in their place."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if size > limits.max_megabytes * 1e6:
        raise AssetError(
            f"{path}: {size / 1e6:,.0f} MB, more than max_megabytes {limits.max_megabytes:g}; reduce it, or allow more"
        )
    missing = [name for name in _named(path) if not (path.parent / name).is_file()]
    if missing:
        raise AssetError(f"{path.parent / missing[0]}: expected the file that {path.name} names, found none")


def _named(path: Path) -> list[str]:
    """Return the names of materials and textures that an .obj or .ply refers to."""
    if path.suffix.lower() == ".ply":
        return [" ".join(words[2:]) for words in _header(path) if words[:2] == ["comment", "TextureFile"]]
    if path.suffix.lower() != ".obj":
        return []
    found: list[str] = []
    for words in _lines(path, "mtllib", ("mtllib",)):
        library = " ".join(words[1:])
        found.append(library)
        if (path.parent / library).is_file():
            found += [textures[-1] for textures in _lines(path.parent / library, "map_Kd", ("map_Kd",)) if len(textures) > 1]
    return list(dict.fromkeys(found))


def _lines(path: Path, beginning: str, words: tuple[str, ...]) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from (line.split() for line in file if line.lstrip().startswith(beginning) and line.split()[0] in words)


def _header(path: Path) -> Iterator[list[str]]:
    """Yield the words of a .ply file's header, line by line."""
    with path.open("rb") as file:
        for _ in range(200):
            line = file.readline(1000).decode("utf-8", errors="replace").strip()
            yield line.split()
            if line in ("", "end_header"):
                return


def _load(path: Path) -> list[Any]:
    """Return trimesh's meshes, in the file's frame; the vertices of an .obj are split where its texture is cut."""
    try:
        import trimesh
    except ImportError as error:
        raise AssetError(f"{path}: trimesh is not installed; pip install 'spherehead-toolkit[synthetic]'") from error
    try:
        loaded = trimesh.load_scene(path, process=False)
        parts = loaded.dump(concatenate=False)
    except Exception as error:  # readers of damaged files raise anything
        raise AssetError(f"{path}: not a readable {path.suffix[1:].upper()} file ({type(error).__name__}: {error})") from error
    return [part for part in parts if isinstance(part, trimesh.Trimesh) and len(part.faces)]


def _file_vertices(path: Path, tables: list[Floats]) -> tuple[list[Array], int]:
    """Return the number of each point among the file's vertices, and how many those are.

    An .obj's vertices are split where its texture is cut, so they are found again by their place.
    """
    if path.suffix.lower() == ".obj":
        own = np.array([[float(word) for word in words[1:4]] for words in _lines(path, "v", ("v",))], dtype=np.float64)
        order = np.lexsort(own.T)
        rows, first = np.unique(own[order], axis=0, return_index=True)
        numbers = {row.tobytes(): int(order[place]) for row, place in zip(rows + 0.0, first, strict=True)}
        found = [np.array([numbers.get(row.tobytes(), -1) for row in points + 0.0], dtype=np.int64) for points in tables]
        if all((part >= 0).all() for part in found):
            return found, len(own)
    starts = np.cumsum([0, *(len(points) for points in tables)])
    return [start + np.arange(len(points)) for start, points in zip(starts, tables, strict=False)], int(starts[-1])


def _areas(points: Floats, faces: Array) -> Floats:
    """Return (F,) areas of triangles."""
    first, second, third = (points[faces[:, k]] for k in range(3))
    return np.asarray(0.5 * np.linalg.norm(np.cross(second - first, third - first), axis=1))


def _tangled(surface: Surface, path: Path, limits: MeshLimits) -> int:
    """Count edges of more than two faces, points at the same place being one.

    Raises:
        AssetError: they are too many.
    """
    _, place = np.unique(surface.points, axis=0, return_inverse=True)
    corners = place.reshape(-1)[surface.faces]
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges[:, 0] * (int(edges.max(initial=0)) + 1) + edges[:, 1], return_counts=True)
    tangled = int((counts > 2).sum())
    if tangled > limits.max_tangled * max(len(counts), 1):
        raise AssetError(
            f"{path}: expected a surface, but {tangled:,} of {len(counts):,} edges belong to more than two faces (more than "
            f"max_tangled {limits.max_tangled:g}); mend it with a mesh tool: doubled or crossing layers give no true picture"
        )
    return tangled


def _surface(path: Path, part: Any, points: Floats, faces: Array, solid: Array, own: Array) -> Surface:
    """Take texture or colours of a mesh."""
    kept = faces[solid].astype(np.int32)
    visual = part.visual
    picture = _picture(path, visual) if visual.kind == "texture" else None
    if picture is not None:
        uvs = np.array(visual.uv, dtype=np.float64)
        if uvs.shape != (len(points), 2) or not np.isfinite(uvs).all():
            raise AssetError(
                f"{path}: expected a finite texture coordinate for each of {len(points)} vertices, got {uvs.shape}"
            )
        outside = (uvs < 0.0) | (uvs > 1.0)
        uvs = np.where(outside, uvs % 1.0, uvs)  # textures repeat
        return Surface(points, kept, np.column_stack([uvs[:, 0], 1.0 - uvs[:, 1]]), kept, picture, own)
    if visual.kind != "vertex" or not visual.defined:
        raise AssetError(
            f"{path}: expected a texture or colours at its vertices, got neither; a scan without colours is of no use"
        )
    colours = np.array(visual.vertex_colors, dtype=np.uint8)
    uvs, face_uvs, texture = colour_atlas(colours[:, :3], kept)
    return Surface(points, kept, uvs, face_uvs, texture, own)


def _picture(path: Path, visual: Any) -> Pixels | None:
    """Return the texture of a material as (H, W, 4), opaque unless the material asks for its opacity."""
    material = visual.material
    image = getattr(material, "baseColorTexture", None)
    image = image if image is not None else getattr(material, "image", None)
    if image is None or visual.uv is None:
        return None
    try:
        picture = np.array(image.convert("RGBA"), dtype=np.uint8)
    except Exception as error:  # damaged pictures raise anything
        raise AssetError(f"{path}: its texture cannot be decoded ({type(error).__name__}: {error})") from error
    if getattr(material, "alphaMode", None) not in ("MASK", "BLEND"):
        picture[..., 3] = 255
    larger = max(picture.shape[:2]) / MAX_TEXTURE
    if larger > 1.0:
        size = (max(1, round(picture.shape[1] / larger)), max(1, round(picture.shape[0] / larger)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return picture


def colour_atlas(colours: Pixels, faces: Array) -> tuple[Floats, Array, Pixels]:
    """Lay colours at vertices out as a texture: 2 x 2 texels a face, between whose middles they change as over the face.

    Args:
        colours: (V, 3) sRGB.
        faces: (F, 3).

    Returns:
        uvs (3 F, 2) with v down, face_uvs (F, 3) and texture (H, W, 4). The fourth texel of a face is b + c - a, so that the
        bilinear filter is linear over the triangle.
    """
    side = max(1, math.ceil(math.sqrt(len(faces))))
    rows, columns = np.divmod(np.arange(len(faces)), side)
    texture = np.full((2 * side, 2 * side, 4), 255, dtype=np.uint8)
    first, second, third = (colours[faces[:, k]].astype(np.int32) for k in range(3))
    cells = ((0, 0, first), (0, 1, second), (1, 0, third), (1, 1, np.clip(second + third - first, 0, 255)))
    for down, right, values in cells:
        texture[2 * rows + down, 2 * columns + right, :3] = values
    corners = np.stack([np.column_stack([2 * columns + right, 2 * rows + down]) for down, right, _ in cells[:3]], axis=1)
    uvs = (corners.reshape(-1, 2) + 0.5) / (2.0 * side)
    return uvs, np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3), texture
