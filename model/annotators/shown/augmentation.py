"""From a view to a training crop with its exact labels: turned, scaled, mirrored, lit, on a ground, worn by a camera.

The label follows the geometry: roll and mirroring turn the rotation, everything moves the place and the points (facts of the
camera contract); the picture's wear changes no label.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import FOCAL, rotation_z
from ....datasets.classes import mirror_landmarks, swap_sides
from ....datasets.warp import apply, similarity
from ..networks import CROP
from . import relighting
from .grounds import ground, shape
from .views import View, warped, warped_beard

NOT_TOLD = -1
"""Where a crop does not tell whether there is beard."""
_LUMA = np.array([[0.299], [0.587], [0.114]], dtype=np.float32)


@dataclass(frozen=True)
class CropSettings:
    """How crops vary."""

    roll_degrees: float = 15.0
    """Standard deviation of the in-plane rotation."""
    free_roll: float = 0.06
    """Share of crops turned by any angle."""
    least_scale: float = 0.6
    """Least side of the canonical crop over the side of the crop."""
    most_scale: float = 1.3
    """Greatest such ratio."""
    shift: float = 0.07
    """Standard deviation of the head frame's centre in sides of the crop."""
    others: float = 0.25
    """Share of crops with another head behind."""
    occluders: float = 0.25
    """Share of crops with something in front."""
    grounds: str = ""
    """Folder of pictures to use as grounds; empty for scikit-image's."""
    size: int = CROP
    """Side of the crops in pixels; class and alpha maps have half of it."""
    grey: float = 0.12
    """Share of black-and-white crops."""
    dark: float = 0.0
    """Share of crops darkened along a power."""
    alike: float = 0.0
    """Share of crops whose ground has the mean colour of the head's hair, skin or clothes."""
    shadows: float = 0.0
    """Share of crops with cast shadows: under chin, hair and hat, and across the head."""
    glints: float = 0.0
    """Share of crops whose glasses reflect and have edges: clear lenses without rims are not seen otherwise."""
    stubble: bool = True
    """Keep single pixels of hair amid skin, and of skin amid hair, in the class map; else they count to what is around them."""


@dataclass(frozen=True, eq=False)
class Crop:
    """One training example; lengths in half sides of the crop from its centre."""

    image: Pixels
    """(S, S, 3), S being `CropSettings.size`."""
    rotation: Floats
    """(3, 3) world to camera."""
    place: Floats
    """(3,) centre x and y, and logarithm of canonical crop side over crop side."""
    points: Floats
    """(68, 2); zeros where they are not known."""
    has_points: bool
    classes: Pixels
    """(S / 2, S / 2), those of the first pixel of every 2 x 2; `pipeline.annotators.heads.parser.centred` minds that."""
    alpha: Array
    """(S / 2, S / 2) float32, 0 to 1, means of every 2 x 2."""
    beard: Array
    """(S / 2, S / 2) int8, of first pixels too: 1 where hair is beard, 0 where it is not, `NOT_TOLD` without hair and where
    nobody knows."""


@dataclass(frozen=True)
class CropGeometry:
    """Where a crop lies in a view: the view mirrored or not, then turned, scaled and shifted."""

    mirror: bool
    roll: float
    """Radians clockwise."""
    scale: float
    """Canonical crop side over crop side."""
    shift: tuple[float, float]
    """Place of the head frame's centre from the crop's centre in sides of the crop."""

    def matrix(self, view: View, size: int) -> Floats:
        """Return the (3, 3) affine map from the view's continuous pixels to a crop of `size` pixels, mirroring included."""
        side = view.image.shape[0]
        centre, _ = view.camera.project(np.zeros(3))
        canonical = view.camera.intrinsics[0, 0] / FOCAL * side  # pixels of the view per side of the canonical crop
        middle = side * centre
        mirror = np.eye(3)
        if self.mirror:
            mirror[0, 0], mirror[0, 2] = -1.0, side
            middle = np.array([side - middle[0], middle[1]])
        target = size * (0.5 + np.array(self.shift))
        return np.asarray(similarity(self.scale * size / canonical, self.roll, middle, target) @ mirror)

    def rotation(self, view: View) -> Floats:
        """Return the (3, 3) world-to-camera rotation of the crop."""
        camera = view.camera.mirrored() if self.mirror else view.camera
        return np.asarray(rotation_z(self.roll) @ camera.world2cam)

    def points(self, view: View, size: int) -> Floats:
        """Return the (68, 2) landmarks in crop pixels; mirrored ones change places with their partners."""
        assert view.points is not None
        side = view.image.shape[0]
        image, _ = view.camera.project(view.points)
        points = np.asarray(side * image)
        if self.mirror:
            points = mirror_landmarks(points, side)
            plain = CropGeometry(False, self.roll, self.scale, self.shift)
            mirrored = View(view.image, view.mask, view.parsing, view.camera.mirrored(), None, None)
            return apply(plain.matrix(mirrored, size), points)
        return apply(self.matrix(view, size), points)


def draw_geometry(random: np.random.Generator, settings: CropSettings) -> CropGeometry:
    """Draw where a crop lies."""
    roll = math.radians(float(random.normal(0.0, settings.roll_degrees)))
    if random.random() < settings.free_roll:
        roll = float(random.uniform(-math.pi, math.pi))
    scale = math.exp(float(random.uniform(math.log(settings.least_scale), math.log(settings.most_scale))))
    x, y = np.clip(random.normal(0.0, settings.shift, 2), -0.25, 0.25).tolist()
    return CropGeometry(bool(random.random() < 0.5), roll, scale, (x, y))


def make_crop(random: np.random.Generator, view: View, other: View | None, settings: CropSettings) -> Crop:
    """Make a training crop of a view.

    Args:
        random: what everything is drawn from.
        view: the head.
        other: another view, for a head behind; None for none.
        settings: how crops vary.
    """
    geometry, size = draw_geometry(random, settings), settings.size
    image, mask, parsing = lit_crop(random, view, geometry, size)
    if settings.shadows and random.random() < settings.shadows:
        image = relighting.shadowed(random, image, parsing)
    made = ground(random, size, settings.grounds).astype(np.float32)
    if settings.glints and random.random() < settings.glints:
        image = relighting.glinting(random, image, parsing, made)
    if settings.alike and random.random() < settings.alike:
        made = relighting.alike(random, made, image, parsing)
    if other is not None:
        x, y = random.choice([-1.0, 1.0]) * random.uniform(0.35, 0.75), random.uniform(-0.4, 0.3)
        behind = CropGeometry(False, 0.0, geometry.scale * float(random.uniform(0.4, 1.1)), (x, y))
        made = laid(random, made, *lit_crop(random, other, behind, size)[:2])
    made = laid(random, made, image, mask)
    sides = parsing if settings.stubble else unspeckled(parsing)
    classes = sides[::2, ::2].copy() if not geometry.mirror else swap_sides(sides[::2, ::2])
    beard = told_beard(warped_beard(view, geometry.matrix(view, size), size), parsing, sides)[::2, ::2].copy()
    alpha = _halved(mask)
    if random.random() < settings.occluders:
        made, hidden = _occluded(random, made)
        small = _halved(hidden)
        alpha = alpha * (1.0 - small)
        classes[small > 0.5] = 0
        beard[small > 0.5] = NOT_TOLD
    if settings.dark and random.random() < settings.dark:
        made = np.float32(255) * (np.clip(made, 0, 255) / np.float32(255)) ** np.float32(random.uniform(1.2, 2.4))
    picture = worn(random, np.clip(made, 0, 255).astype(np.uint8), settings.grey)
    half = size / 2.0
    points = (geometry.points(view, size) - half) / half if view.points is not None else np.zeros((68, 2))
    place = np.array([2.0 * geometry.shift[0], 2.0 * geometry.shift[1], math.log(geometry.scale)])
    return Crop(picture, geometry.rotation(view), place, points, view.points is not None, classes, alpha, beard)


def told_beard(beard: Pixels | None, parsing: Pixels, shown: Pixels) -> Array:
    """Return (S, S) int8: 1 where hair is beard, 0 where it is other hair, `NOT_TOLD` elsewhere.

    Args:
        beard: (S, S) positive where the hair of `parsing` is beard; None where that is not known.
        parsing: (S, S) exact classes.
        shown: (S, S) classes that are learned, see `unspeckled`: where only they have hair, it is what most hair around is.
    """
    out = np.full(shown.shape, NOT_TOLD, dtype=np.int8)
    hair = shown == relighting.HAIR
    if beard is None or not hair.any():
        return out
    out[hair] = (beard > 0)[hair]
    if (filled := hair & (parsing != relighting.HAIR)).any():
        side = 7 * shown.shape[0] // CROP | 1
        bearded, hairy = (
            cv2.boxFilter(where.astype(np.float32), -1, (side, side), borderType=cv2.BORDER_REPLICATE)
            for where in (beard > 0, parsing == relighting.HAIR)
        )
        out[filled] = (bearded > np.float32(0.5) * hairy)[filled]
    return out


def _halved(cover: Pixels) -> Array:
    """Return (S / 2, S / 2) float32 means, 0 to 1, of an (S, S) coverage."""
    half = cover.shape[0] // 2
    return np.asarray(cover.reshape(half, 2, half, 2).mean(axis=(1, 3)).astype(np.float32) / np.float32(255))


def unspeckled(parsing: Pixels) -> Pixels:
    """Return a class map in which hair amid skin is skin, and skin amid hair is hair: stubble and the scalp between strands.

    What is around a pixel is counted over 7 x 7 pixels of a map of 128, in proportion over others.
    """
    reach = 7 * parsing.shape[0] // CROP | 1
    hair, skin = parsing == relighting.HAIR, parsing == relighting.SKIN
    if not hair.any() or not skin.any():
        return parsing
    near_hair, near_skin = (
        cv2.boxFilter(where.astype(np.float32), -1, (reach, reach), borderType=cv2.BORDER_REPLICATE) for where in (hair, skin)
    )
    out = parsing.copy()
    out[hair & (near_skin > 0.55)] = relighting.SKIN
    out[skin & (near_hair > 0.65)] = relighting.HAIR
    return out


def lit_crop(random: np.random.Generator, view: View, geometry: CropGeometry, size: int = CROP) -> tuple[Array, Pixels, Pixels]:
    """Return a view's crop as (S, S, 3) float32 sRGB values, (S, S) coverage and classes; sides are not yet swapped."""
    image, mask, parsing, normals = warped(view, geometry.matrix(view, size), size)
    if normals is None:
        return image.astype(np.float32), mask, parsing
    colour = relighting.repaint(random, relighting.linear(image), parsing)
    if random.random() < 0.6:
        colour = relighting.strands(random, colour, parsing)
    ahead = np.asarray(view.camera.cam2world[:3, 2])
    near = cv2.dilate(mask, np.ones((9, 9), dtype=np.uint8)) > 0  # `laid` softens the edge by up to three pixels
    lit = relighting.light(random, colour, normals, ahead, parsing, near)
    return relighting.develop(random, lit, mask > 127), mask, parsing


def laid(random: np.random.Generator, onto: Array, image: Array, mask: Pixels) -> Array:
    """Lay a head over a ground by its coverage, whose edge is softened so that no network learns the cut."""
    cover: Array = mask.astype(np.float32) / np.float32(255)
    if random.random() < 0.7:
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), float(random.uniform(0.3, 1.0))))
    cover = cover[..., None]
    return np.asarray(onto * (1.0 - cover) + image * cover, dtype=np.float32)


def _occluded(random: np.random.Generator, picture: Array) -> tuple[Array, Pixels]:
    """Draw one or two things in front; return the picture and (S, S) what they hide."""
    flat = np.clip(picture, 0, 255).astype(np.uint8)
    paint, hidden = ground(random, len(flat)), np.zeros(flat.shape, dtype=np.uint8)
    white = np.full((1, 1, 3), 255, dtype=np.uint8)
    for _ in range(int(random.integers(1, 3))):
        canvas = np.zeros_like(hidden)
        shape(random, canvas, np.broadcast_to(white, hidden.shape), 0.08, 0.4)
        hidden = np.maximum(hidden, np.where(canvas.any(axis=2, keepdims=True), 255, 0).astype(np.uint8))
    cover = hidden[..., :1].astype(np.float32) / 255.0
    return np.asarray(flat * (1.0 - cover) + paint * cover, dtype=np.float32), hidden[..., 0]


def worn(random: np.random.Generator, image: Pixels, grey_share: float = 0.12) -> Pixels:
    """Wear a picture as cameras and the web do: colour, contrast, grey, blur, fewer pixels, noise, JPEG."""
    size = image.shape[0]
    out: Array = image.astype(np.float32)
    if random.random() < 0.7:
        gain = np.exp(random.normal(0.0, 0.12) + random.normal(0.0, 0.07, 3))
        contrast, lift = float(random.uniform(0.7, 1.35)), float(random.uniform(-25, 25))
        out = np.clip(((out - 128.0) * contrast + (128.0 + lift)) * gain.astype(np.float32), 0.0, 255.0)
    if random.random() < grey_share:
        out = np.repeat(out @ _LUMA, 3, axis=2)
    elif random.random() < 0.3:
        grey = out @ _LUMA
        out = grey + (out - grey) * np.float32(random.uniform(0.3, 1.6))
    if random.random() < 0.3:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), float(random.uniform(0.3, 1.6)) * max(size / CROP, 1.0)))
    if random.random() < 0.35:
        small = max(24, int(size * random.uniform(0.3, 0.95)))
        out = np.asarray(cv2.resize(cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA), (size, size)))
    if random.random() < 0.4:
        out = out + np.float32(random.uniform(1.0, 16.0)) * random.standard_normal(out.shape, dtype=np.float32)
    flat = np.clip(out, 0, 255).astype(np.uint8)
    return jpeg(flat, int(random.integers(25, 96))) if random.random() < 0.5 else flat


def jpeg(image: Pixels, quality: int) -> Pixels:
    """Return an (H, W, 3) RGB picture as a JPEG of a quality shows it."""
    data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1])
