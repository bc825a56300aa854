"""What a viewer shows of a generator: a head by seeds, mixture and truncation, from the camera of whoever looks.

Windows, sliders and the browser are left to `server`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...datasets.arrays import Floats, Pixels
from ...datasets.camera import RADIUS, Camera
from ...datasets.classes import colourise
from ...datasets.report.tiles import fit
from ..generator import Generator
from ..meshes.mesh import CENTIMETRE
from ..visualization.pictures import depth_colours, mask_grey
from ..visualization.views import RenderSettings, View, each_view, head_styles, seeded_latents

Mode = Literal["picture", "raw", "classes", "depth", "mask"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""What of a view is shown."""
Axis = Literal["x", "y", "z"]
AXES: tuple[Axis, ...] = get_args(Axis)
"""To which slices of the density are normal."""
SLICE = 128
"""Pixels a side of a slice."""
NEAREST, FARTHEST = 0.8, 12.0
"""Distances of the looking camera, in world units; beyond, the nearest allowed one counts."""


@dataclass(frozen=True)
class Chosen:
    """Which head is shown, and how."""

    seed: int = 0
    other_seed: int = 1
    mix: float = 0.0
    """Share of the other head's style, 0 to 1."""
    psi: float = 0.7
    """Truncation; 1 for none."""
    mode: Mode = "picture"


def label_of(position: Floats, rotation: Floats, vertical_fov: float) -> Tensor:
    """Return the (1, 25) label of a free camera: on the sphere that generators know, with its distance turned into zoom.

    Args:
        position: (3,) world place of the camera.
        rotation: (3, 3) camera to world, OpenCV axes.
        vertical_fov: field of view over the height of the square picture, in radians.
    """
    distance = float(np.linalg.norm(position))
    direction = np.asarray(position) / distance if distance > 1e-6 else np.array([0.0, 0.0, 1.0])
    cam2world = np.eye(4)
    cam2world[:3, :3], cam2world[:3, 3] = rotation, RADIUS * direction
    focal = 0.5 / math.tan(vertical_fov / 2) * RADIUS / min(max(distance, NEAREST), FARTHEST)
    intrinsics = np.array([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]])
    return torch.from_numpy(Camera(cam2world, intrinsics).label())[None]


def rotation_of(wxyz: Floats) -> Floats:
    """Return the (3, 3) rotation of a (4,) unit quaternion, w first."""
    w, x, y, z = np.asarray(wxyz, dtype=np.float64) / np.linalg.norm(wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


class Heads:
    """A generator with the last head's style kept, so that a moving camera costs no mapping."""

    def __init__(self, generator: Generator, ws: Tensor | None = None, rendering: RenderSettings | None = None) -> None:
        """Show a generator's heads by seed, or one head.

        Args:
            generator: any generator that is conditioned on nothing or on a camera.
            ws: (1, num_ws, w_dim) style vectors of the only head, such as an inverted one; None for heads by seed.
            rendering: how far the networks have grown.
        """
        self.generator, self.only = generator.requires_grad_(False), ws
        self.rendering = rendering or RenderSettings()
        self._kept: tuple[tuple[int, int, float, float], Tensor] | None = None

    @property
    def rays(self) -> int:
        """Rays a side of the generator's own raw picture."""
        return self.rendering.neural_resolution or self.generator.settings.neural_resolution

    def styles(self, chosen: Chosen) -> Tensor:
        """Return the (1, num_ws, w_dim) style vectors of the head that was chosen."""
        if self.only is not None:
            return self.only
        key = (chosen.seed, chosen.other_seed, chosen.mix, chosen.psi)
        if self._kept is None or self._kept[0] != key:
            z = seeded_latents([chosen.seed, chosen.other_seed], self.generator.settings.z_dim)
            ws = head_styles(self.generator, z, psi=chosen.psi)
            self._kept = (key, ws[:1].lerp(ws[1:], chosen.mix))
        return self._kept[1]

    def frame(self, chosen: Chosen, label: Tensor, rays: int) -> Pixels:
        """Return the (S, S, 3) picture of the chosen head.

        Args:
            chosen: which head, and how.
            label: (1, 25) camera.
            rays: rays a side.
        """
        rendering = RenderSettings(rays, self.rendering.image_resolution, self.rendering.fade)
        return shown(next(iter(each_view(self.generator, self.styles(chosen), label, rendering))), chosen.mode)

    @property
    def side(self) -> float:
        """Side of the volume in world units."""
        return self.generator.settings.volume.box_size

    @torch.no_grad()
    def slice(self, chosen: Chosen, axis: Axis, centimetres: float, side: int = SLICE) -> Pixels:
        """Return the (side, side, 3) picture of the chosen head's density on a plane across the volume (see `plane_of`).

        Args:
            chosen: which head.
            axis: to which the plane is normal: x is a profile, y is seen from above with the face down, z from in front.
            centimetres: where it cuts the axis, from the head frame's origin.
            side: pixels a side.
        """
        frame, centre = (torch.from_numpy(part).float() for part in plane_of(axis, centimetres))
        steps = ((torch.arange(side) + 0.5) / side - 0.5) * self.side
        points = centre + steps[None, :, None] * frame[:, 0] + steps[:, None, None] * frame[:, 1]
        device = next(self.generator.parameters()).device
        planes = self.generator.planes(self.styles(chosen))
        raw = self.generator.solid(planes, points.reshape(1, -1, 3).to(device))[1]
        opacity = 1.0 - torch.exp(-functional.softplus(raw.float() - 1.0) * CENTIMETRE)
        grey = (opacity.view(side, side, 1) * 255.0).round().to(torch.uint8).cpu().numpy()
        return np.repeat(grey, 3, axis=2)


def plane_of(axis: Axis, centimetres: float) -> tuple[Floats, Floats]:
    """Return how a slice's picture lies in the world.

    Args:
        axis: to which it is normal.
        centimetres: where it cuts the axis.

    Returns:
        The (3, 3) rotation whose columns are the directions of the picture's right, its bottom and the normal, and the (3,)
        centre of the picture in world units.
    """
    right, down = {
        "x": ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
        "y": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
        "z": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    }[axis]
    centre = np.zeros(3)
    centre[AXES.index(axis)] = centimetres * CENTIMETRE
    return np.stack([right, down, np.cross(right, down)], axis=1), centre


def translucent(picture: Pixels, least: float = 0.35, most: float = 0.8) -> Pixels:
    """Return an (S, S, 4) picture of a slice that covers what is behind it by one share where empty, by another where dense."""
    alpha = least * 255.0 + (most - least) * picture[..., :1]
    return np.concatenate([picture, alpha.round().astype(np.uint8)], axis=2)


def shown(view: View, mode: Mode) -> Pixels:
    """Return one part of a view as a picture of the view's final side."""
    if mode == "picture":
        return view.image
    if mode == "classes" and view.parsing is not None:
        part = colourise(view.parsing)
    elif mode == "depth":
        part = depth_colours(view.depth, view.mask)
    elif mode == "mask":
        part = mask_grey(view.mask)
    else:
        part = view.raw
    return fit(part, max(len(view.image), len(part)))


def widened(picture: Pixels, aspect: float) -> Pixels:
    """Return a square picture in the middle of a wider one, its edge columns averaged at either side.

    Args:
        picture: (S, S, 3).
        aspect: width by height of the window; windows that are higher than wide get the square.
    """
    side = len(picture)
    wide = max(side, round(side * aspect))
    canvas = np.empty((side, wide, 3), dtype=np.uint8)
    canvas[:] = np.concatenate([picture[:, :2], picture[:, -2:]], axis=1).reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    start = (wide - side) // 2
    canvas[:, start : start + side] = picture
    return canvas
