"""What is drawn: meshes of one material in the head frame, whoever they make up.

A person in parts is put together by `figure`, a scan by `scans.mesh_head`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.classes import CLASSES
from ..hair.strands import Strands

BEARDED_SKIN = len(CLASSES)
"""Among a part's `field_labels`: skin of class hair that shows between the hairs of a beard."""


@dataclass(frozen=True, eq=False)
class Part:
    """One mesh of one material."""

    name: str
    points: Floats
    """(V, 3) in the head frame, world units."""
    normals: Floats
    """(V, 3) unit normals for shading."""
    faces: Array
    """(F, 3) int32."""
    uvs: Floats
    """(T, 2), v down."""
    face_uvs: Array
    """(F, 3) int32."""
    texture: Pixels
    """(H, W, 4) sRGB and opacity."""
    labels: Array
    """(F,) uint8 class of each face."""
    finish: str
    """skin, eye, hair, cloth, frame, metal, lens, teeth or scan."""
    seen_from: float = 0.5
    """Opacity from which a point counts as this part's in the class map; above 1 it never does."""
    fields: Floats | None = None
    """(V, K) one value a vertex: where it is positive, faces of class skin have the class in `field_labels` instead."""
    field_labels: tuple[int, ...] = ()

    @property
    def is_clear(self) -> bool:
        """Whether every texel is wholly transparent: there in the class map, but not to be seen."""
        return not self.texture[..., 3].any()

    @property
    def is_opaque(self) -> bool:
        """Whether no texel is transparent."""
        return bool((self.texture[..., 3] == 255).all())


class Drawable(Protocol):
    """A head in parts, whoever made it."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it is made of."""
        ...

    @property
    def strands(self) -> tuple[Strands, ...]:
        """Hair in strands."""
        ...
