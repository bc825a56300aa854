"""A textured head as OBJ with MTL, and as PLY with colours at its vertices: what other programs open besides glTF."""

from __future__ import annotations

import numpy as np

from ...datasets.arrays import Array
from ...datasets.classes import CLASSES
from .mesh import Mesh, Unit
from .unwrap import Atlas

OBJ_NAME, MTL_NAME, TEXTURE_NAME, CLASSES_NAME = "head.obj", "head.mtl", "texture.png", "classes.png"


def obj(mesh: Mesh, atlas: Atlas, classes: Array | None, unit: Unit) -> bytes:
    """Return a head as Wavefront OBJ: vertices welded, seams only in the texture coordinates, one group a class.

    Args:
        mesh: the surface, in the head frame.
        atlas: its unwrapping; v is turned over, as OBJ counts it upward.
        classes: (V,) class id of every vertex, or None; a face is in the group of most of its corners.
        unit: of the vertices.
    """
    lines = [f"# spherehead-toolkit; y up, the face looks along +z; unit: {unit.name}", f"mtllib {MTL_NAME}", "o head"]
    lines += [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in (mesh.vertices / unit.size).tolist()]
    lines += [f"vt {u:.6f} {1.0 - v:.6f}" for u, v in atlas.uv.tolist()]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.normals().tolist()]
    lines.append("usemtl head")
    rows = np.stack([mesh.faces, atlas.faces, mesh.faces], axis=2) + 1
    text = [" ".join("/".join(map(str, corner)) for corner in face) for face in rows.tolist()]
    groups = np.zeros(len(mesh.faces), dtype=np.int64) if classes is None else face_classes(classes[mesh.faces])
    for group in np.unique(groups).tolist():
        if classes is not None:
            lines.append(f"g {CLASSES[group]}")
        lines += [f"f {text[face]}" for face in np.flatnonzero(groups == group).tolist()]
    return ("\n".join(lines) + "\n").encode()


def mtl() -> bytes:
    """Return the material of `obj`: the texture, no highlights."""
    return f"newmtl head\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {TEXTURE_NAME}\n".encode()


def face_classes(corners: Array) -> Array:
    """Return the (F,) class that most corners (F, 3) of a face have; the first corner's where all differ."""
    return np.where(corners[:, 1] == corners[:, 2], corners[:, 1], corners[:, 0]).astype(np.int64)


def ply(mesh: Mesh, colours: Array, classes: Array | None, unit: Unit) -> bytes:
    """Return a head as binary PLY: welded, with normals, colours and, where known, a property `class`.

    Args:
        mesh: the surface, in the head frame.
        colours: (V, 3) sRGB, 0 to 255.
        classes: (V,) class ids, or None.
        unit: of the vertices.
    """
    fields = [
        *((name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")),
        *((name, "u1") for name in ("red", "green", "blue")),
    ]
    fields += [] if classes is None else [("class", "u1")]
    rows = np.zeros(len(mesh.vertices), dtype=fields)
    for names, values in (("x y z", mesh.vertices / unit.size), ("nx ny nz", mesh.normals())):
        for column, name in enumerate(names.split()):
            rows[name] = values[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        rows[name] = np.round(np.clip(colours[:, column], 0, 255))
    if classes is not None:
        rows["class"] = classes
    faces = np.zeros(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    head = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment spherehead-toolkit; y up, the face looks along +z; unit: {unit.name}",
    ]
    if classes is not None:
        head.append(f"comment classes: {' '.join(CLASSES)}")
    head.append(f"element vertex {len(rows)}")
    head += [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in fields]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    return ("\n".join(head) + "\n").encode() + rows.tobytes() + faces.tobytes()
