"""Adaptive augmentation of what the discriminator sees: picture, raw picture, mask, parsing and camera label change together.

After Karras et al. (2020, "Training generative adversarial networks with limited data"), sec. 3 and appendix B. Changes of
geometry are homographies of the picture, and any such is an exact new label; what is done with scores is left to the terms.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...datasets.camera import LABEL_MIRROR_NEGATES
from ...datasets.classes import MIRROR_PAIRS
from ..portrait import Portrait

SKEW, CENTRE_X = 17, 18
"""Entries of the label that mirroring changes by other rules than a sign."""


@dataclass(frozen=True)
class AugmentSettings:
    """Which changes there are, how strong they are, and how their probability follows the discriminator."""

    start: float = 0.0
    """Probability of each change at the start."""
    target: float | None = 0.6
    """Mean sign of the discriminator's scores of the data that the probability steers for; null keeps the probability."""
    adapt_images: int = 500_000
    """Pictures in which the probability can go from 0 to 1."""
    limit: float = 1.0
    """Largest probability."""
    mirror: float = 1.0
    """Factor on the probability of a coin that mirrors."""
    roll: float = 1.0
    """Factor on the probability of a turn about the middle of the picture."""
    roll_degrees: float = 30.0
    """Largest turn; turns are uniform. 180 is published, for pictures without labels."""
    zoom: float = 1.0
    """Factor on the probability of a zoom about the middle."""
    zoom_deviation: float = 0.2
    """Standard deviation of the zoom's binary logarithm."""
    shift: float = 1.0
    """Factor on the probability of a shift."""
    shift_deviation: float = 0.125
    """Standard deviation of the shift along each side, as a share of the side."""
    brightness: float = 1.0
    """Factor on the probability of another brightness."""
    brightness_deviation: float = 0.2
    """Standard deviation of what is added to every colour."""
    contrast: float = 1.0
    """Factor on the probability of another contrast."""
    contrast_deviation: float = 0.5
    """Standard deviation of the binary logarithm of the factor on every colour."""
    luma_flip: float = 1.0
    """Factor on the probability of a coin that exchanges dark and light and keeps the hue."""
    hue: float = 1.0
    """Factor on the probability of another hue."""
    hue_degrees: float = 180.0
    """Largest turn of the hue; turns are uniform."""
    saturation: float = 1.0
    """Factor on the probability of another saturation."""
    saturation_deviation: float = 1.0
    """Standard deviation of the binary logarithm of the factor on saturation."""

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.limit <= 1:
            raise ValueError(f"expected 0 <= start <= limit <= 1, got start {self.start}, limit {self.limit}")
        if self.target is not None and not -1 < self.target < 1:
            raise ValueError(f"expected a target between -1 and 1 or null, got {self.target}")
        if self.adapt_images < 1:
            raise ValueError(f"expected adapt_images of 1 or more, got {self.adapt_images}")
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name != "target" and value < 0:
                raise ValueError(f"expected {item.name} of 0 or more, got {value}")


def adapted(probability: float, mean_sign: float, images: int, settings: AugmentSettings) -> float:
    """Return the next probability: up where the discriminator is too sure of the data, down where not, by the pictures shown.

    Args:
        probability: present one.
        mean_sign: mean sign of the discriminator's scores of the data since the last change, of all processes: in [-1, 1].
        images: pictures of the data since the last change.
        settings: target, pace and limit.
    """
    if settings.target is None or mean_sign == settings.target:
        return probability
    step = math.copysign(images / settings.adapt_images, mean_sign - settings.target)
    return min(max(probability + step, 0.0), settings.limit)


@dataclass(frozen=True, eq=False)
class Augmentation:
    """One drawn change for each picture of a batch: first mirrored, then warped, then recoloured."""

    mirrored: Tensor
    """(B,) bool."""
    warped: Tensor
    """(B,) bool: whether the homography is another one than the identity."""
    homography: Tensor
    """(B, 3, 3) double, old to new image coordinates, normalised by the side, origin at the top left."""
    recoloured: Tensor
    """(B,) bool: whether the colours change."""
    colour: Tensor
    """(B, 3, 4) matrix and offset that are applied to colours in [-1, 1]."""

    def to(self, device: torch.device) -> Augmentation:
        """Return the same numbers on a device."""
        return Augmentation(*(getattr(self, item.name).to(device) for item in dataclasses.fields(self)))


def augment(portrait: Portrait, settings: AugmentSettings, probability: float, random: torch.Generator) -> Portrait:
    """Change each picture with the given probability of each change; the same portrait if that is 0.

    Args:
        portrait: pictures, real or generated.
        settings: which changes there are.
        probability: of each change for each picture, before its factor.
        random: source of every draw.
    """
    if probability <= 0:
        return portrait
    return apply(portrait, draw(len(portrait.image), settings, probability, random))


def draw(batch: int, settings: AugmentSettings, probability: float, random: torch.Generator) -> Augmentation:
    """Draw a change for each of `batch` pictures, on the device of `random`."""

    def uniform() -> Tensor:
        return torch.rand(batch, generator=random, device=random.device, dtype=torch.float64)

    def normal() -> Tensor:
        return torch.randn(batch, generator=random, device=random.device, dtype=torch.float64)

    def chosen(factor: float) -> Tensor:
        return uniform() < factor * probability

    def kept(where: Tensor, value: Tensor) -> Tensor:
        return torch.where(where, value, 0.0)

    mirrored = chosen(settings.mirror) & (uniform() < 0.5)
    roll, zoom, shift = (chosen(factor) for factor in (settings.roll, settings.zoom, settings.shift))
    angle = kept(roll, (uniform() * 2 - 1) * math.radians(settings.roll_degrees))
    scale = torch.exp2(kept(zoom, normal() * settings.zoom_deviation))
    move = torch.stack([kept(shift, normal() * settings.shift_deviation) for _ in range(2)], dim=1)
    brightness, contrast = (chosen(factor) for factor in (settings.brightness, settings.contrast))
    hue, saturation = (chosen(factor) for factor in (settings.hue, settings.saturation))
    flip = chosen(settings.luma_flip) & (uniform() < 0.5)
    colour = colour_matrix(
        kept(brightness, normal() * settings.brightness_deviation),
        torch.exp2(kept(contrast, normal() * settings.contrast_deviation)),
        flip,
        kept(hue, (uniform() * 2 - 1) * math.radians(settings.hue_degrees)),
        torch.exp2(kept(saturation, normal() * settings.saturation_deviation)),
    )
    recoloured = brightness | contrast | flip | hue | saturation
    return Augmentation(mirrored, roll | zoom | shift, similarity(angle, scale, move), recoloured, colour)


def similarity(angle: Tensor, scale: Tensor, move: Tensor) -> Tensor:
    """Return (B, 3, 3) homographies: turn clockwise by `angle` and zoom by `scale` about the middle, then move by (B, 2)."""
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    linear = torch.stack([torch.stack([cosine, -sine], dim=1), torch.stack([sine, cosine], dim=1)], dim=1)
    middle = torch.full_like(move, 0.5)
    offset = middle + move - (linear @ middle[:, :, None]).squeeze(2)
    last = torch.tensor([0.0, 0.0, 1.0], dtype=angle.dtype, device=angle.device).expand(len(angle), 1, 3)
    return torch.cat([torch.cat([linear, offset[:, :, None]], dim=2), last], dim=1)


def colour_matrix(brightness: Tensor, contrast: Tensor, flip: Tensor, hue: Tensor, saturation: Tensor) -> Tensor:
    """Return (B, 3, 4) colour changes, in the order of the arguments (Karras et al. 2020, appendix B).

    The luma axis is grey, (1, 1, 1) / sqrt 3: the flip reflects along it, hue turns about it, saturation scales away from it.

    Args:
        brightness: (B,) what is added.
        contrast: (B,) factor.
        flip: (B,) bool.
        hue: (B,) angle in radians.
        saturation: (B,) factor.
    """
    whole = torch.eye(3, dtype=contrast.dtype, device=contrast.device)
    grey = torch.full_like(whole, 1 / 3)
    about = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], dtype=whole.dtype, device=whole.device)
    sign = torch.where(flip, -1.0, 1.0).to(whole)
    cosine, sine = hue.cos() * saturation, hue.sin() * saturation / math.sqrt(3)
    along = contrast * sign
    matrix = along[:, None, None] * grey + contrast[:, None, None] * (
        cosine[:, None, None] * (whole - grey) + sine[:, None, None] * about
    )
    offset = (along * brightness)[:, None, None].expand(-1, 3, 1)
    return torch.cat([matrix, offset], dim=2)


def apply(portrait: Portrait, change: Augmentation) -> Portrait:
    """Apply drawn changes; a picture that none was drawn for keeps its bits. Depth and features are left behind.

    Args:
        portrait: B pictures.
        change: what was drawn for them, on any device.
    """
    change = change.to(portrait.image.device)
    seen = dataclasses.replace(portrait, depth=None, features=None)
    return _recoloured(_warped(_mirrored(seen, change.mirrored), change), change)


def _mirrored(portrait: Portrait, rows: Tensor) -> Portrait:
    """Mirror some pictures: pixels, left and right classes, and the label as `Camera.mirrored` does."""

    def flipped(part: Tensor | None) -> Tensor | None:
        return None if part is None else torch.where(rows[:, None, None, None], part.flip(3), part)

    parsing = portrait.parsing
    if parsing is not None:
        order = list(range(parsing.shape[1]))
        for left, right in MIRROR_PAIRS:
            order[left], order[right] = right, left
        parsing = torch.where(rows[:, None, None, None], parsing[:, order].flip(3), parsing)
    turned = portrait.camera.clone()
    negated = [*LABEL_MIRROR_NEGATES, SKEW]
    turned[:, negated] = 0.0 - turned[:, negated]  # never a negative zero
    turned[:, CENTRE_X] = 1.0 - turned[:, CENTRE_X]
    camera = torch.where(rows[:, None], turned, portrait.camera)
    image, raw, mask = (flipped(part) for part in (portrait.image, portrait.raw, portrait.mask))
    assert image is not None and raw is not None
    return dataclasses.replace(portrait, image=image, raw=raw, mask=mask, parsing=parsing, camera=camera)


def _warped(portrait: Portrait, change: Augmentation) -> Portrait:
    """Warp some pictures, and take their labels along."""
    rows = change.warped.nonzero().squeeze(1)
    if not len(rows):
        return portrait
    homography = change.homography[rows]
    inverse = torch.linalg.inv(homography)
    camera = portrait.camera.index_copy(0, rows, warped_label(portrait.camera[rows], homography))
    image = portrait.image.index_copy(0, rows, resampled(portrait.image[rows], inverse))
    small = [part for part in (portrait.raw, portrait.mask, portrait.parsing) if part is not None]
    stack = resampled(torch.cat([part[rows].to(portrait.raw.dtype) for part in small], dim=1), inverse)
    pieces = iter(stack.split([part.shape[1] for part in small], dim=1))
    raw, mask, parsing = (
        None if part is None else part.index_copy(0, rows, next(pieces).to(part.dtype))
        for part in (portrait.raw, portrait.mask, portrait.parsing)
    )
    assert raw is not None
    return dataclasses.replace(portrait, image=image, raw=raw, mask=mask, parsing=parsing, camera=camera)


def _recoloured(portrait: Portrait, change: Augmentation) -> Portrait:
    """Change the colours of some pictures and of their raw versions."""
    rows = change.recoloured.nonzero().squeeze(1)
    if not len(rows):
        return portrait

    def painted(part: Tensor) -> Tensor:
        colour = change.colour[rows].to(part.dtype)
        pixels = torch.baddbmm(colour[:, :, 3:], colour[:, :, :3], part[rows].flatten(2))
        return part.index_copy(0, rows, pixels.view(len(rows), 3, *part.shape[2:]))

    return dataclasses.replace(portrait, image=painted(portrait.image), raw=painted(portrait.raw))


def resampled(picture: Tensor, inverse: Tensor) -> Tensor:
    """Resample pictures through homographies, bilinear, reflected at the border.

    Args:
        picture: (B, C, S, S).
        inverse: (B, 3, 3) from new to old image coordinates, normalised by the side; the same for every S.
    """
    size = picture.shape[-1]
    centres = (torch.arange(size, dtype=inverse.dtype, device=inverse.device) + 0.5) / size
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.stack([u, v, torch.ones_like(u)]).flatten(1)
    mapped = inverse @ points
    grid = (mapped[:, :2] / mapped[:, 2:] * 2.0 - 1.0).transpose(1, 2).unflatten(1, (size, size))
    return functional.grid_sample(picture, grid.to(picture.dtype), "bilinear", "reflection", align_corners=False)


def warped_label(label: Tensor, homography: Tensor) -> Tensor:
    """Return the labels of pictures after homographies, exactly: H K = K' R' with K' upper triangular, R' a rotation.

    The same as `Camera.warped`, for a batch: rows of R' by Gram and Schmidt, from the last to the first.

    Args:
        label: (B, 25).
        homography: (B, 3, 3), old to new normalised image coordinates, keeping orientation.
    """
    rows = label.double()
    cam2world, matrix = rows[:, :16].view(-1, 4, 4).clone(), homography.double() @ rows[:, 16:].view(-1, 3, 3)
    first, second, third = matrix.unbind(1)
    k33 = third.norm(dim=1, keepdim=True)
    z = third / k33
    k23 = (second * z).sum(1, keepdim=True)
    second = second - k23 * z
    k22 = second.norm(dim=1, keepdim=True)
    y = second / k22
    x = torch.linalg.cross(y, z)
    k11, k12, k13 = ((first * axis).sum(1, keepdim=True) for axis in (x, y, z))
    zero = torch.zeros_like(k11)
    intrinsics = torch.cat([k11, k12, k13, zero, k22, k23, zero, zero, k33], dim=1) / k33
    cam2world[:, :3, :3] = cam2world[:, :3, :3] @ torch.stack([x, y, z], dim=2)
    return torch.cat([cam2world.flatten(1), intrinsics], dim=1).to(label.dtype) + 0.0
