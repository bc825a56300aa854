"""Reads a user's head scan - GLB, OBJ or PLY with a texture or colours at its vertices - through trimesh, and checks it.

The only module that imports trimesh. Where the head lies is `mesh_head`'s business. What cannot be drawn truly is refused with
the file's name: numbers that are not finite, damage, a missing texture, no colours, tangles, more faces than wanted.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.sample import wording
from ..assets.formats import AssetError
from .materials import Companions, Texture, header_of_ply, lines_of, parse_texture

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
    parts = _load(path, _look_before(path, limits))
    num_faces = sum(len(part.faces) for part in parts)
    if not num_faces:
        raise AssetError(f"{path}: expected triangles, got none")
    if num_faces > limits.max_faces:
        raise AssetError(
            f"{path}: {num_faces:,} faces, more than max_faces {limits.max_faces:,}; reduce the mesh, or allow more"
        )
    tables = [(np.array(part.vertices, dtype=np.float64), np.array(part.faces, dtype=np.int64)) for part in parts]
    for points, faces in tables:
        if points.ndim != 2 or points.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise AssetError(f"{path}: expected points of three numbers and triangles, got {points.shape} and {faces.shape}")
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
    try:
        return [named.path or path.parent / Path(named.text).name for named in Companions(path).files]
    except AssetError:
        return []


def _look_before(path: Path, limits: MeshLimits) -> Companions:
    """Refuse by size, by counts that no file of that size can hold, and by files that are not there.

    trimesh would put a plain texture in the place of a missing one, and make room for what a header declares.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if size > limits.max_megabytes * 1e6:
        raise AssetError(
            f"{path}: {size / 1e6:,.0f} MB, more than max_megabytes {limits.max_megabytes:g}; reduce it, or allow more"
        )
    declared = _declared(path)
    if declared > max(size, 12 * limits.max_faces):
        raise AssetError(f"{path}: its header declares {declared:,} elements in {size:,} bytes; the file is damaged")
    found = Companions(path)
    if missing := found.missing():
        raise AssetError(f"{path.parent / Path(missing).name}: expected the file that {path.name} names, found none")
    return found


def _declared(path: Path) -> int:
    """Return the largest count in a .ply's or .glb's header; 0 for an .obj, and where there is no sense in it."""
    try:
        if path.suffix.lower() == ".ply":
            counts = [words[2] for words in header_of_ply(path) if len(words) == 3 and words[0] == "element"]
            return max((int(count) for count in counts if count.isdecimal() and len(count) < 20), default=0)
        if path.suffix.lower() != ".glb":
            return 0
        with path.open("rb") as file:
            head = file.read(20)
            told = json.loads(file.read(int.from_bytes(head[12:16], "little"))) if head[16:20] == b"JSON" else {}
        return max((int(accessor.get("count", 0)) for accessor in told.get("accessors", [])), default=0)
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return 0


def _load(path: Path, found: Companions) -> list[Any]:
    """Return trimesh's meshes, in the file's frame; the vertices of an .obj are split where its texture is cut."""
    try:
        import trimesh
    except ImportError as error:
        raise AssetError(f"{path}: trimesh is not installed; pip install 'spherehead-toolkit[synthetic]'") from error
    try:
        resolver: Any = found if path.suffix.lower() != ".glb" else None
        loaded = trimesh.load_scene(path, process=False, resolver=resolver)
        parts = loaded.dump(concatenate=False)
    except Exception as error:  # readers of damaged files raise anything
        raise AssetError(f"{path}: not a readable {path.suffix[1:].upper()} file ({wording(error)})") from error
    return [part for part in parts if isinstance(part, trimesh.Trimesh) and len(part.faces)]


def _file_vertices(path: Path, tables: list[Floats]) -> tuple[list[Array], int]:
    """Return the number of each point among the file's vertices, and how many those are.

    An .obj's vertices are split where its texture is cut, so they are found again by their place.
    """
    if path.suffix.lower() == ".obj":
        try:
            words = [text.split()[:3] for text in lines_of(path, "v")]
            own = np.array(words, dtype=np.float64).reshape(len(words), 3)
        except ValueError as error:
            raise AssetError(f"{path}: expected three numbers after each v ({wording(error)})") from error
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
        return Surface(points, kept, *_laid_out(path, visual, uvs, kept, picture), own)
    if visual.kind != "vertex" or not visual.defined:
        raise AssetError(
            f"{path}: expected a texture or colours at its vertices, got neither; a scan without colours is of no use"
        )
    colours = np.array(visual.vertex_colors, dtype=np.uint8)
    uvs, face_uvs, texture = colour_atlas(colours[:, :3], kept)
    return Surface(points, kept, uvs, face_uvs, texture, own)


def _laid_out(path: Path, visual: Any, uvs: Floats, faces: Array, picture: Pixels) -> tuple[Floats, Array, Pixels]:
    """Return uvs (T, 2) from 0 to 1 with v down, face_uvs (F, 3) and the texture, which repeats as far as a face reaches.

    A face is moved as a whole by whole repeats: were its corners brought back one by one, a face that crosses the edge would
    show the texture from end to end. Renderers do not repeat textures, so one is lengthened by what faces see beyond its edge.

    Raises:
        AssetError: a face shows more repeats than a texture can be lengthened by, or asks for what is not drawn.
    """
    told = _told(path, visual)
    if told is not None:
        uvs = uvs * told.scale + told.offset
        uvs = np.clip(uvs, 0.0, 1.0) if told.clamp else uvs
    down = np.column_stack([uvs[:, 0], 1.0 - uvs[:, 1]])
    used = down[np.unique(faces)] if len(faces) else down[:0]
    if not ((used < 0.0) | (used > 1.0)).any():
        return down, faces, picture
    corners = down[faces]
    inside = ((corners >= 0.0) & (corners <= 1.0)).all(axis=1, keepdims=True)
    corners = np.where(inside, corners, corners - np.floor(corners.min(axis=1, keepdims=True)))
    reach = np.maximum(corners.max(axis=(0, 1)), 1.0)
    height, width = picture.shape[:2]
    # one texel more than is seen, for the filter
    rows, columns = (length if most == 1.0 else math.ceil(length * most) + 1 for length, most in
                     ((height, reach[1]), (width, reach[0])))  # fmt: skip
    if max(rows, columns) > 4 * MAX_TEXTURE or rows * columns > 4 * MAX_TEXTURE**2:
        raise AssetError(f"{path}: a face repeats its texture {float(reach.max()):.0f} times; expected one picture of the head")
    longer = picture[np.arange(rows) % height][:, np.arange(columns) % width]
    laid = corners.reshape(-1, 2) * (width / columns, height / rows)
    return laid, np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3), np.ascontiguousarray(longer)


def _told(path: Path, visual: Any) -> Texture | None:
    """Return what an .obj's material says of its texture beside the name; None where nothing."""
    text = getattr(visual.material, "image", None)
    text = text.info.get("file_path") if text is not None and path.suffix.lower() == ".obj" else None
    return parse_texture(text) if isinstance(text, str) else None


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
        raise AssetError(f"{path}: its texture cannot be decoded ({wording(error)})") from error
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
