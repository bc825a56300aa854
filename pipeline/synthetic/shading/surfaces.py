"""What shading without rays needs of a figure, once a person: finishes, hair's tangents, and what each vertex sees of the sky.

Nothing here depends on a camera or a light; `deferred` uses it for every picture of the person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.classes import INDEX
from ..people.subdivision import compact
from ..rendering.exact_pass import Drawing
from .occlusion import LIFT, directions, visibility
from .thickness import through_strands

SOLID, SKIN, HAIR, EYE = 0, 1, 2, 3
"""Kinds of surfaces: what is neither skin nor hair nor eye is solid."""


@dataclass(frozen=True)
class Finish:
    """How a surface answers light."""

    kind: int = SOLID
    wrap: float = 0.0
    """How far light reaches behind the terminator: cosines from -wrap on count."""
    facing: float = 0.03
    """Reflectance of a mirror seen straight on (Schlick 1994)."""
    shine: float = 1.0
    """Factor on mirrored light."""
    mirror: int = 0
    """Which of the sky's mirror maps is looked up."""
    sharpness: float = 20.0
    """Exponent of a lamp's highlight (Blinn 1977)."""
    metallic: float = 0.0
    """1 where mirrored light has the surface's colour and there is no other."""


FINISHES: dict[str, Finish] = {
    "skin": Finish(SKIN, 0.22, 0.030, 0.9, 1, 30.0),
    "oily skin": Finish(SKIN, 0.22, 0.045, 1.2, 1, 60.0),
    "scalp": Finish(SKIN, 0.22, 0.030, 0.3, 1, 12.0),
    "eye": Finish(EYE, 0.10, 0.025, 1.0, 2, 900.0),
    "hair": Finish(HAIR, 0.25, 0.040, 0.55, 0, 24.0),
    "cloth": Finish(SOLID, 0.10, 0.025, 0.35, 0, 8.0),
    "frame": Finish(SOLID, 0.0, 0.050, 1.0, 2, 220.0),
    "metal": Finish(SOLID, 0.0, 0.70, 1.0, 2, 160.0, 0.9),
    "lens": Finish(SOLID, 0.0, 0.045, 1.0, 2, 1200.0),
    "teeth": Finish(SOLID, 0.10, 0.045, 1.0, 1, 160.0),
    "scan": Finish(SKIN, 0.15, 0.030, 0.5, 0, 14.0),
}
"""Finish of a part -> how it answers light. The same names as `rendering.render.FINISHES`."""
HAIR_BOUNCE = 0.2
"""How much of the light that other surfaces send back comes from hair."""
MOUTH_BOUNCE = 0.3
"""How much of it comes into a mouth, whose own walls hide it: more would be a red line between lips."""
UNHIDING = ("lashes", "brow", "lens")
"""Parts that hide no light."""
EYE_REACH, EYE_SIDE = 0.8, 56
"""How far around the middle of an eyeball lids hide its light, in its diameters, and the side of its depth maps in texels."""
_GAPS = {HAIR: (0.35 * LIFT, 0.013), EYE: (2.2 * LIFT, 0.006)}
"""Kind -> how far vertices are lifted, and within which distance nothing hides them; sheets of hair let light through."""
_GAP = (LIFT, 0.006)


@dataclass(frozen=True, eq=False)
class Surfaces:
    """A figure's surfaces."""

    drawing: Drawing
    normals: Array
    """(V, 3) float32."""
    tangents: Array
    """(V, 3) float32 unit direction of hair; zero elsewhere."""
    kinds: Array
    """(V,) uint8."""
    sees: Array
    """(V, K) float32 share of each direction that is not hidden."""
    transfer: Array
    """(V, K) float32: `sees` times the share of the light from each direction that a diffuse surface there turns to albedo."""
    ambient: Array
    """(V,) float32: how much of an evenly white sky arrives, 0 to 1."""
    bounced: Array
    """(V,) float32: how much of what does not arrive comes from lit surfaces instead, 0 to 1; little of what hair hides."""
    finishes: Array
    """(P, 7) float32: the fields of each part's `Finish`."""
    hiding: Array
    """(F', 3) int32 faces that hide light."""


def surfaces_of(drawing: Drawing, tangents: Array | None = None) -> Surfaces:
    """Prepare a figure for shading.

    Args:
        drawing: the figure's meshes.
        tangents: (V, 3) directions of hair where a maker of strands knows them; else they follow the texture downwards.
    """
    finishes = [FINISHES[part.finish] for part in drawing.parts]
    sizes = [len(part.points) for part in drawing.parts]
    kinds = np.repeat(np.array([finish.kind for finish in finishes], dtype=np.uint8), sizes)
    wraps = np.repeat(np.array([finish.wrap for finish in finishes], dtype=np.float32), sizes)
    lift, near = (np.array([_GAPS.get(kind, _GAP)[k] for kind in range(4)])[kinds] for k in (0, 1))
    hiding = np.array([part.name not in UNHIDING and not part.is_clear for part in drawing.parts])[drawing.part_of]
    faces = np.ascontiguousarray(drawing.faces[hiding & ~drawing.see_through])
    lifted = drawing.points + lift[:, None] * drawing.normals
    sees = visibility(drawing.points, lifted, faces, near.astype(np.float32))
    _hide_by_lids(drawing, faces, sees)
    solid = sees.copy()
    if len(drawing.strands):
        sees *= through_strands(drawing.strands, drawing.points)
    tangents = _downwards(drawing, kinds == HAIR) if tangents is None else tangents
    towards = directions().T.astype(np.float32)
    shape = drawing.normals.astype(np.float32) @ towards
    shape += wraps[:, None]
    shape *= ((1.0 + wraps) ** -2.0)[:, None]
    np.maximum(shape, np.float32(0.0), out=shape)
    hair = kinds == HAIR
    along = tangents[hair].astype(np.float32) @ towards
    shape[hair] *= np.float32(0.5)
    shape[hair] += np.float32(0.5 / np.pi) * np.sqrt(np.maximum(1.0 - along**2, np.float32(0.0)))
    transfer = sees * shape
    whole = np.maximum(shape.sum(axis=1), np.float32(1e-6))
    ambient, between = transfer.sum(axis=1) / whole, (solid * shape).sum(axis=1) / whole
    bounced = (np.float32(1.0) - between) + np.float32(HAIR_BOUNCE) * (between - ambient)
    bounced[_in_mouth(drawing)] *= np.float32(MOUTH_BOUNCE)
    table = np.array([list(vars(finish).values()) for finish in finishes], dtype=np.float32)
    return Surfaces(
        drawing, drawing.normals.astype(np.float32), tangents.astype(np.float32), kinds, sees, transfer, ambient, bounced,
        table, faces,
    )  # fmt: skip


def _hide_by_lids(drawing: Drawing, faces: Array, sees: Array) -> None:
    """Lower what eyeballs see, in `sees` (V, K), by what lids hide: too thin for maps of the whole head."""
    start = 0
    for part in drawing.parts:
        rows = slice(start, start + len(part.points))
        start = rows.stop
        if FINISHES[part.finish].kind != EYE or not len(part.points):
            continue
        low, high = part.points.min(axis=0), part.points.max(axis=0)
        centre, reach = (low + high) / 2.0, EYE_REACH * float((high - low).max())
        around = faces[np.linalg.norm(drawing.points[faces[:, 0]] - centre, axis=1) < 1.4 * reach]
        used, small = compact(around[((around < rows.start) | (around >= rows.stop)).all(axis=1)])
        points = np.vstack([drawing.points[used], part.points])
        none = np.zeros(len(points), dtype=np.float32)
        seen = visibility(points, points, small, none, centre, reach, EYE_SIDE)
        sees[rows] = np.minimum(sees[rows], seen[len(used) :])


def _in_mouth(drawing: Drawing) -> Array:
    """Return the vertices of the mouth's walls, lips' inner edges included; teeth stand before them."""
    skin = np.array([part.finish in ("skin", "oily skin", "scalp") for part in drawing.parts])[drawing.part_of]
    return np.unique(drawing.faces[skin & (drawing.labels == INDEX["mouth"])])


def _downwards(drawing: Drawing, hair: Array) -> Floats:
    """Return (V, 3) unit vectors along the texture's second axis on the surface, zero where there is no hair."""
    some = hair[drawing.faces].any(axis=1)
    if not some.any():
        return np.zeros_like(drawing.points)
    faces = drawing.faces[some]
    corner, texture = drawing.points[faces], drawing.uvs[drawing.face_uvs[some]]
    first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    (u1, v1), (u2, v2) = (texture[:, 1] - texture[:, 0]).T, (texture[:, 2] - texture[:, 0]).T
    sign = np.sign(u1 * v2 - u2 * v1)[:, None]
    along = (second * u1[:, None] - first * u2[:, None]) * sign
    total = np.stack(
        [
            sum(np.bincount(faces[:, k], weights=along[:, axis], minlength=len(drawing.points)) for k in range(3))
            for axis in range(3)
        ],
        axis=1,
    )
    total -= (total * drawing.normals).sum(axis=1, keepdims=True) * drawing.normals
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(hair[:, None] & (length > 1e-20), total / np.maximum(length, 1e-20), 0.0)
