"""Reads MakeHuman's own file formats: meshes, morph targets, proxies that follow the body, and materials.

What the files are used for, and keeping what was read, is left to `assets`. Units are decimetres, y up, the face looks along
+z; texture v runs upwards in the files and is turned here, so that it counts from the top of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ....datasets.arrays import Array, Floats


class AssetError(ValueError):
    """An asset that cannot be used; the message names the file, what was expected and what came."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with texture coordinates; quads of the file are cut along their first diagonal."""

    vertices: Floats
    """(V, 3) positions."""
    faces: Array
    """(F, 3) int32 indices into `vertices`."""
    uvs: Floats
    """(T, 2) texture coordinates, u to the right and v down from the top, in [0, 1] for most assets."""
    face_uvs: Array
    """(F, 3) int32 indices into `uvs`."""
    groups: Array
    """(F,) int32 index into `group_names`."""
    group_names: tuple[str, ...] = ("",)

    def group(self, name: str) -> Array:
        """Return the indices of the faces of a group.

        Raises:
            AssetError: there is none of that name.
        """
        if name not in self.group_names:
            raise AssetError(f"expected a group '{name}' in the mesh, got {len(self.group_names)} others")
        return np.flatnonzero(self.groups == self.group_names.index(name))


@dataclass(frozen=True, eq=False)
class Target:
    """A morph: some vertices of the base mesh and how far each moves at weight 1."""

    indices: Array
    """(N,) int32."""
    offsets: Floats
    """(N, 3) decimetres."""


@dataclass(frozen=True, eq=False)
class Proxy:
    """How each vertex of a piece of clothing, hair or eye hangs on three vertices of the body."""

    name: str
    anchors: Array
    """(V, 3) int32 base vertices."""
    weights: Floats
    """(V, 3) weights that sum to 1."""
    offsets: Floats
    """(V, 3) offsets, to be multiplied by the scale of each axis."""
    scales: tuple[tuple[int, int, float], ...]
    """For x, y, z: two base vertices and the distance along that axis at which the scale is 1; (0, 0, 0) for none."""
    mesh_file: str
    material_file: str
    hidden: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    """Base vertices that this piece covers, so that they need not be drawn."""

    def fit(self, body: Floats) -> Floats:
        """Return the (V, 3) vertices on a morphed (B, 3) body."""
        scale = np.ones(3)
        for axis, (first, second, distance) in enumerate(self.scales):
            if distance:
                scale[axis] = abs(body[first, axis] - body[second, axis]) / distance
        on_body = np.einsum("vk,vkc->vc", self.weights, body[self.anchors])
        return np.asarray(on_body + self.offsets * scale)


@dataclass(frozen=True)
class Material:
    """What a .mhmat file says that a renderer here uses."""

    name: str
    diffuse: tuple[float, float, float] = (1.0, 1.0, 1.0)
    diffuse_texture: str = ""
    transparent: bool = False


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_obj(path: Path) -> Mesh:
    """Read a Wavefront mesh with triangles and quads.

    Raises:
        AssetError: it is no such mesh, has indices outside it, numbers that are not finite, or no face.
    """
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    corners: list[tuple[list[int], list[int], int]] = []
    names: list[str] = []
    group = 0
    try:
        for line in _lines(path):
            words = line.split()
            if not words:
                continue
            if words[0] == "v":
                vertices.append([float(word) for word in words[1:4]])
            elif words[0] == "vt":
                uvs.append([float(words[1]), 1.0 - float(words[2])])
            elif words[0] == "g":
                name = " ".join(words[1:])
                if name not in names:
                    names.append(name)
                group = names.index(name)
            elif words[0] == "f":
                parts = [word.split("/") for word in words[1:]]
                places = [int(part[0]) - 1 for part in parts]
                coordinates = [int(part[1]) - 1 if len(part) > 1 and part[1] else -1 for part in parts]
                corners.append((places, coordinates, group))
    except (ValueError, IndexError) as error:
        raise AssetError(f"{path}: not a readable .obj: {error}") from error
    return _triangles(path, vertices, uvs, corners, tuple(names) or ("",))


def _triangles(
    path: Path,
    vertices: list[list[float]],
    uvs: list[list[float]],
    corners: list[tuple[list[int], list[int], int]],
    names: tuple[str, ...],
) -> Mesh:
    """Cut polygons into fans and check every number."""
    rows = [
        (places[0], places[k], places[k + 1], coordinates[0], coordinates[k], coordinates[k + 1], group)
        for places, coordinates, group in corners
        for k in range(1, len(places) - 1)
    ]
    table = np.array(rows, dtype=np.int32).reshape(-1, 7)
    points = np.array(vertices, dtype=np.float64).reshape(-1, 3)
    texture = np.array(uvs, dtype=np.float64).reshape(-1, 2)
    if not len(table) or not len(points):
        raise AssetError(f"{path}: expected vertices and faces, got {len(points)} and {len(table)}")
    if not (np.isfinite(points).all() and np.isfinite(texture).all()):
        raise AssetError(f"{path}: expected finite coordinates, got NaN or infinity")
    if table[:, :3].min() < 0 or table[:, :3].max() >= len(points):
        raise AssetError(f"{path}: a face names vertex {int(table[:, :3].max()) + 1} of {len(points)}")
    if not len(texture):
        texture, table[:, 3:6] = np.zeros((1, 2)), 0
    if table[:, 3:6].min() < 0 or table[:, 3:6].max() >= len(texture):
        raise AssetError(f"{path}: a face names texture coordinate {int(table[:, 3:6].max()) + 1} of {len(texture)}")
    first, second = (points[table[:, k]] - points[table[:, 0]] for k in (1, 2))
    if not (np.linalg.norm(np.cross(first, second), axis=1) > 0).any():
        raise AssetError(f"{path}: expected faces with an area, got {len(table)} without")
    return Mesh(points, table[:, :3].copy(), texture, table[:, 3:6].copy(), table[:, 6].copy(), names)


def read_target(path: Path, num_vertices: int) -> Target:
    """Read a morph target for a base mesh of this number of vertices.

    Raises:
        AssetError: a line is cut short or is no number, or a vertex does not exist.
    """
    rows = [line for line in _lines(path) if line.strip() and not line.lstrip().startswith("#")]
    try:
        table = np.array([line.split() for line in rows], dtype=np.float64).reshape(-1, 4)
    except ValueError as error:
        raise AssetError(f"{path}: expected lines 'vertex dx dy dz', one is cut short or no number ({error})") from error
    indices = table[:, 0].astype(np.int32)
    if not np.isfinite(table).all() or (len(table) and (indices.min() < 0 or indices.max() >= num_vertices)):
        raise AssetError(f"{path}: expected finite offsets of vertices 0 to {num_vertices - 1}, got others")
    return Target(indices, table[:, 1:].copy())


def read_proxy(path: Path, num_vertices: int) -> Proxy:
    """Read a .mhclo file for a base mesh of this number of vertices.

    Raises:
        AssetError: it is damaged or names vertices that do not exist.
    """
    known: dict[str, str] = {}
    scales = {"x": (0, 0, 0.0), "y": (0, 0, 0.0), "z": (0, 0, 0.0)}
    rows: list[list[float]] = []
    hidden: list[str] = []
    section = ""
    try:
        for line in _lines(path):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] in ("verts", "delete_verts"):
                section = words[0]
            elif section == "verts" and _is_number(words[0]):
                rows.append(_hanging([float(word) for word in words]))
            elif section == "delete_verts" and _is_number(words[0]):
                hidden += words
            elif words[0].endswith("_scale") and words[0][0] in scales:
                scales[words[0][0]] = (int(words[1]), int(words[2]), float(words[3]))
            else:
                known[words[0]] = " ".join(words[1:])
    except (ValueError, IndexError) as error:
        raise AssetError(f"{path}: not a readable .mhclo: {error}") from error
    table = np.array(rows, dtype=np.float64).reshape(-1, 9)
    anchors = table[:, :3].astype(np.int32)
    used = [*anchors.ravel().tolist(), *(index for first, second, _ in scales.values() for index in (first, second))]
    if not rows or not np.isfinite(table).all() or min(used) < 0 or max(used) >= num_vertices:
        raise AssetError(f"{path}: expected vertices hung on base vertices 0 to {num_vertices - 1}, got {len(rows)} lines")
    if "obj_file" not in known:
        raise AssetError(f"{path}: expected a line 'obj_file', got none")
    return Proxy(
        known.get("name", path.stem),
        anchors,
        table[:, 3:6].copy(),
        table[:, 6:].copy(),
        (scales["x"], scales["y"], scales["z"]),
        known["obj_file"],
        known.get("material", ""),
        _ranges(hidden),
    )


def _is_number(word: str) -> bool:
    return word[0].isdigit() or word[0] == "-"


def _hanging(numbers: list[float]) -> list[float]:
    """Bring a vertex line to three indices, three weights and three offsets."""
    if len(numbers) == 1:
        return [numbers[0], numbers[0], numbers[0], 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    if len(numbers) != 9:
        raise ValueError(f"expected 1 or 9 numbers for a vertex, got {len(numbers)}")
    return numbers


def _ranges(words: list[str]) -> Array:
    """Read lists such as `3 5 - 8 12`: single vertices and ranges with both ends."""
    found: list[int] = []
    position = 0
    while position < len(words):
        first = int(words[position])
        last = first
        if position + 2 < len(words) and words[position + 1] == "-":
            last, position = int(words[position + 2]), position + 2
        found += range(first, last + 1)
        position += 1
    return np.array(sorted(set(found)), dtype=np.int32)


def read_material(path: Path) -> Material:
    """Read a .mhmat file; what it says for other renderers is passed over.

    Raises:
        AssetError: it cannot be read.
    """
    known = {words[0]: words[1:] for line in _lines(path) if (words := line.split()) and not words[0].startswith("#")}
    try:
        red, green, blue = (float(word) for word in known.get("diffuseColor", ["1", "1", "1"])[:3])
    except ValueError as error:
        raise AssetError(f"{path}: expected three numbers after diffuseColor ({error})") from error
    return Material(
        " ".join(known.get("name", [path.stem])),
        (red, green, blue),
        " ".join(known.get("diffuseTexture", [])),
        known.get("transparent", ["False"])[0] == "True",
    )
