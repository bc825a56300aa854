"""Directions as numbers: angles about an axis and the near-equal-area map of the sphere onto a square, safe to differentiate.

It leaves planes and weights to the volumes. Angles have no derivative on their axis; here values are exact everywhere and
gradients are those of the formula with `SOFT` squared added to the squared distance from the singular place: bounded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SOFT = 1e-4
"""Distance, in units of half the box, below which gradients are softened: an eightieth of a texel of a 256-texel plane."""
CORNER = 1e-2
"""Distance below which gradients of the square's roots are softened: they are steep only in its corners."""
TINY = 1e-14
"""Added under square roots whose gradient must exist at 0."""


def softened(value: Tensor, soft: Tensor) -> Tensor:
    """Return `value`, with the gradient of `soft`."""
    return value.detach() + (soft - soft.detach())


def length(*parts: Tensor) -> Tensor:
    """Return the Euclidean length of components; its gradient at 0 is 0."""
    return sum((part.square() for part in parts), start=torch.zeros_like(parts[0])).add(TINY).sqrt()


def azimuth(across: Tensor, along: Tensor) -> Tensor:
    """Return atan2(across, along) in (-pi, pi]."""
    angle = torch.atan2(across.detach(), along.detach())
    if not (across.requires_grad or along.requires_grad):
        return angle
    # d angle = (along d across - across d along) / (across^2 + along^2); as a term that is 0 in value
    a, b = across.detach(), along.detach()
    return angle + (b * across - a * along) / (a.square() + b.square() + SOFT**2)


def colatitude(distance: Tensor, along: Tensor) -> Tensor:
    """Return the angle in [0, pi] from an axis, of a point at `distance` (>= 0) from the axis and `along` it."""
    return azimuth(distance, along)


def disc(right: Tensor, down: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
    """Map directions onto the unit disc by Lambert's equal-area projection, without trigonometry.

    The centre is the direction `towards`, the rim the one opposite. u = right / sqrt(2 r (r + towards)), v alike; near the
    rim r + towards is taken as (right^2 + down^2) / (r - towards), which does not cancel.
    On the rim's axis the map has no limit; there, and at the origin, (u, v) = (0, 1) is returned.

    Args:
        right: component along the disc's u.
        down: component along the disc's v.
        towards: component along the axis.

    Returns:
        (u, v) with u^2 + v^2 <= 1 up to rounding.
    """
    exact = _disc(right.detach(), down.detach(), towards.detach(), 0.0)
    if not (right.requires_grad or down.requires_grad or towards.requires_grad):
        return exact
    soft = _disc(right, down, towards, SOFT)
    return softened(exact[0], soft[0]), softened(exact[1], soft[1])


def _disc(right: Tensor, down: Tensor, towards: Tensor, soft: float) -> tuple[Tensor, Tensor]:
    distance_squared = right.square() + down.square()
    radius = (distance_squared + towards.square() + max(soft**2, torch.finfo(right.dtype).tiny)).sqrt()
    back = towards < 0
    depth = torch.where(back, distance_squared / (radius + towards.abs()), radius + towards)
    scale_squared = 2 * radius * depth + soft**2
    if soft:
        scale = scale_squared.rsqrt()
        return right * scale, down * scale
    lost = scale_squared < torch.finfo(right.dtype).tiny
    scale = torch.where(lost, torch.zeros_like(scale_squared), scale_squared.rsqrt())
    return right * scale, torch.where(lost, torch.ones_like(down), down * scale)


def square(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Map the unit disc onto the square [-1, 1]^2 by the elliptical grid map, nearly equal in area.

    x = (s1 - s2) / 2 with s = sqrt((sqrt 2 +- u)^2 - v^2), written as 2 sqrt 2 u / (s1 + s2) so that nothing cancels. The
    roots' arguments are kept above 0, which rounding at the corners would break (published: NaN there).

    Args:
        u: horizontal place on the disc.
        v: vertical place on the disc.

    Returns:
        (x, y), each in [-1, 1].
    """
    root = math.sqrt(2)
    x = 2 * root * u / (_root((root + u).square() - v.square()) + _root((root - u).square() - v.square()))
    y = 2 * root * v / (_root((root + v).square() - u.square()) + _root((root - v).square() - u.square()))
    return x.clamp(-1, 1), y.clamp(-1, 1)


def _root(value: Tensor) -> Tensor:
    """Square root of a number that rounding may have put below 0: with 1e-8 under it as published, gradient at most 50."""
    value = value.clamp_min(0)
    exact = (value.detach() + 1e-8).sqrt()
    return softened(exact, (value + CORNER**2).sqrt()) if value.requires_grad else exact
