"""Hair on a person: the body as a surface that hair grows on, and the scalp that is painted beneath it.

How strands grow is `hair`'s business, who has which is drawn by `population`.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import scipy

from ....datasets.arrays import Array, Floats
from ..assets.library import Assets
from ..hair.brows import brow_shadow, build_brows
from ..hair.density import DENSE_ENOUGH, density, left
from ..hair.face_hair import build_beard, region, shadow
from ..hair.head_hair import build_hair
from ..hair.lashes import build_lashes
from ..hair.look import BeardLook, Colour, Growth, HairLook, LashLook
from ..hair.scalp import Surface, angles_of
from ..hair.strands import Strands
from .body import Body, vertex_normals
from .placement import Placement, place
from .subdivision import compact

UPPER_LASHES = (
    (14763, 14766, 14762, 14761, 14760, 14743, 14742, 14744, 14745, 14746, 14747, 14748, 14749),
    (14772, 14769, 14773, 14774, 14775, 14794, 14795, 14791, 14790, 14789, 14788, 14787, 14786),
)
LOWER_LASHES = (
    (14765, 14759, 14793, 14758, 14757, 14756, 14755, 14754, 14753, 14752, 14792, 14751),
    (14770, 14776, 14767, 14777, 14778, 14779, 14780, 14781, 14782, 14783, 14768, 14784),
)
"""Vertices of the base mesh along the left eye's lids: behind the margin, and on it."""
SOFT_SHADOW, SOFT_BROWS = 3.0, 0.6
"""Texels over which the shades of beards and of brows end."""
MEAN = {
    f"macrodetails/{people}-{sex}-young": 1 / 6 for people in ("african", "asian", "caucasian") for sex in ("female", "male")
}
"""Morphs of the mean head, on which places are told."""


@lru_cache(maxsize=4)
def mean_head(body: Body) -> Floats:
    """Return the fine points of the bust on the mean head, in the head frame."""
    known = {name: share for name, share in MEAN.items() if name in body.targets}
    vertices = body.morph(known)
    points: Floats = place(vertices).apply(body.bust.subdivision.refine(vertices))
    points.setflags(write=False)
    return points


def surface_of(body: Body, vertices: Floats, placement: Placement, around: tuple[Floats, Floats]) -> Surface:
    """Return a person's bust as a surface that hair grows on.

    Args:
        body: the base mesh.
        vertices: the person's morphed vertices.
        placement: where the head lies.
        around: points and normals of what is worn.
    """
    faces = body.bust.subdivision.faces
    points = placement.apply(body.bust.subdivision.refine(vertices))
    normals = vertex_normals(points, faces)
    used, new = compact(faces)
    return Surface(points[used], normals[used], new, mean_head(body)[used], around)


def grow_on(growth: Growth, surface: Surface) -> tuple[Strands, ...]:
    """Grow everything that a person has of hair."""
    hair = build_hair(growth.hair, surface) if growth.hair is not None else ()
    beard = build_beard(growth.beard, surface) if growth.beard is not None else ()
    brows = build_brows(growth.brows, surface) if growth.brows is not None else ()
    return (*hair, *beard, *brows)


@lru_cache(maxsize=4)
def _lids(body: Body) -> tuple[tuple[Array, bool], ...]:
    found = []
    for rows, upper in ((UPPER_LASHES, True), (LOWER_LASHES, False)):
        left = np.array(rows).T
        found += [(left, upper), (body.mirrored(left), upper)]
    return tuple(found)


def grow_lashes(look: LashLook, body: Body, vertices: Floats, placement: Placement) -> Strands:
    """Grow lashes on the lids of a morphed body."""
    return build_lashes(
        look, [(placement.apply(vertices[lid].reshape(-1, 3)).reshape(-1, 2, 3), up) for lid, up in _lids(body)]
    )


def scalp_field(body: Body, look: HairLook) -> Floats:
    """Return (V',) values at the bust's fine vertices that are positive where its scalp is hair in class maps."""
    return np.asarray(density(look, *angles_of(mean_head(body))) - DENSE_ENOUGH)


def beard_field(body: Body, look: BeardLook | None) -> Floats:
    """Return (V',) values at the bust's fine vertices that are positive where a beard makes its skin hair in class maps."""
    rest = mean_head(body)
    return np.full(len(rest), -1.0) if look is None else region(look, rest)


def scalp_picture(assets: Assets, body: Body, look: HairLook) -> Array:
    """Return how much hair shows at the pixels of the skin's texture, (512, 512) float32 from 0 to 1."""
    where, places = _texture_places(assets, body)
    picture = np.zeros((512, 512), dtype=np.float32)
    angles = angles_of(places)
    picture[where] = density(look, *angles) * left(look, *angles)
    return picture


def face_shades(assets: Assets, body: Body, growth: Growth) -> list[tuple[Array, Colour]]:
    """Return how much beard and brows darken the skin's texture, (512, 512) float32 from 0 to 1, and their colours."""
    where, places = _texture_places(assets, body)
    found: list[tuple[Array, Colour]] = []
    if growth.beard is not None:
        found.append((_shade(where, shadow(growth.beard, places), SOFT_SHADOW), growth.beard.colour))
    if growth.brows is not None:
        found.append((_shade(where, brow_shadow(growth.brows, places), SOFT_BROWS), growth.brows.colour))
    return found


def _shade(where: Array, values: Floats, soft: float) -> Array:
    picture = np.zeros((512, 512), dtype=np.float32)
    picture[where] = values
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), soft), dtype=np.float32)


@lru_cache(maxsize=2)
def head_places(assets: Assets, body: Body) -> Array:
    """Return (512, 512, 3) float32 places on the mean head of the skin texture's texels; 9 where they show none of it."""
    where, places = _texture_places(assets, body)
    picture = np.full((512, 512, 3), 9.0, dtype=np.float32)
    picture[where] = places
    picture.setflags(write=False)
    return picture


@lru_cache(maxsize=2)
def _texture_places(assets: Assets, body: Body) -> tuple[Array, Floats]:
    """Return which texels of 512 x 512 show the head, and the places on the mean head of those, from the nearest vertices."""
    bust = body.bust
    corners, uv_corners = bust.subdivision.faces.ravel(), bust.subdivision.face_uvs.ravel()
    _, first = np.unique(uv_corners, return_index=True)
    known = bust.uvs[uv_corners[first]] * 512.0
    rows, columns = np.mgrid[80:448, 320:512]
    away, nearest = scipy.spatial.cKDTree(known).query(np.column_stack([columns.ravel() + 0.5, rows.ravel() + 0.5]), k=3)
    weight = 1.0 / np.maximum(away, 0.05)
    weight /= weight.sum(axis=1, keepdims=True)
    places = (mean_head(body)[corners[first]][nearest] * weight[..., None]).sum(axis=1)
    near = away[:, 0] < 8.0
    where = np.zeros((512, 512), dtype=bool)
    where[80:448, 320:512] = near.reshape(rows.shape)
    return where, places[near]
