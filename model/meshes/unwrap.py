"""A surface cut into charts and laid out flat, by xatlas: the only module that imports it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Array, Floats
from .mesh import Mesh, MeshError

PADDING = 2
"""Texels between charts."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Where a mesh's faces lie in a texture."""

    uv: Floats
    """(W, 2) places in [0, 1]; v runs downward, as in glTF."""
    faces: Array
    """(F, 3) int64 indices into `uv`, in the order of the mesh's faces."""
    vertices: Array
    """(W,) int64 index of the mesh's vertex at each place: seams have one vertex at several."""


def unwrap(mesh: Mesh, size: int) -> Atlas:
    """Cut a mesh into charts and pack them.

    Args:
        mesh: the surface.
        size: texels a side of the texture that it is for.

    Raises:
        MeshError: xatlas is missing, or leaves a face out.
    """
    try:
        import xatlas
    except ImportError as error:
        raise MeshError("xatlas is not installed: pip install 'spherehead-toolkit[mesh]'") from error
    work = xatlas.Atlas()
    work.add_mesh(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding = size, PADDING
    work.generate(pack_options=packing)
    vertices, faces, uv = work[0]
    vertices, faces = np.asarray(vertices, dtype=np.int64), np.asarray(faces, dtype=np.int64)
    if work.atlas_count != 1 or not np.array_equal(vertices[faces], mesh.faces):
        raise MeshError(f"xatlas laid the surface out on {work.atlas_count} pages or left faces out; try a larger texture")
    return Atlas(np.asarray(uv, dtype=np.float64), faces, vertices)
