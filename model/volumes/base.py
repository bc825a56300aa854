"""What a volume is: it turns the backbone's output into planes once a head, and planes and points into features.

It leaves density and colour to the decoder, and the choice of points to `ray_marching`. EG3D, PanoHead, SphereHead and
HyPlaneHead differ here and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from ...manifests.registry import Registry


class VolumeError(ValueError):
    """Planes or points that do not fit a volume; the message says what was expected and what came."""


class Volume(nn.Module, ABC):
    """Features in space, read from planes.

    World frame: y up, the face looks along +z, +x is the subject's left. A volume of `box_size` b spans [-b/2, b/2] in x, y, z;
    points outside are legal and read what zero padding leaves there.
    """

    plane_shape: tuple[int, int, int]
    """(channels, height, width) that the backbone must emit."""
    num_features: int
    """Width F of the features that `sample` returns."""
    box_size: float
    """Side of the cube that the planes span, in world units (`box_warp` in the published code)."""

    def prepare(self, backbone_output: Tensor) -> Tensor:
        """Turn the backbone's output into planes; done once a head, so its result is what an orbit keeps.

        Args:
            backbone_output: (B, *plane_shape).

        Returns:
            (B, ...) planes in the volume's own layout, only good for its own `sample`; index the first axis to pick heads.

        Raises:
            VolumeError: the output has another shape.
        """
        if backbone_output.ndim != 4 or tuple(backbone_output.shape[1:]) != self.plane_shape:
            expected, got = ("B", *self.plane_shape), tuple(backbone_output.shape)
            raise VolumeError(f"{type(self).__name__} expected a backbone output of shape {expected}, got {got}")
        mix = self.mixing()
        if mix is not None:
            backbone_output = nn.functional.conv2d(backbone_output, mix[..., None, None].to(backbone_output.dtype))
        return self.arrange(backbone_output)

    def mixing(self) -> Tensor | None:
        """Return the (P, plane_shape[0]) matrix that turns channels of the backbone into those of planes; None for none.

        Without gradients it may be folded into the backbone's last layers, whose output then goes to `arrange`.
        """
        return None

    @abstractmethod
    def arrange(self, maps: Tensor) -> Tensor:
        """Lay (B, P, H, W) maps, mixed already, out as planes: the rest of `prepare`."""

    @abstractmethod
    def sample(self, planes: Tensor, points: Tensor) -> Tensor:
        """Read features at points; differentiable in both arguments, finite in value and gradient everywhere.

        Args:
            planes: what `prepare` returned.
            points: (B, N, 3) world points.

        Returns:
            (B, N, F) features, already averaged over planes and fused over spheres: what the decoder reads.
        """

    def sample_along(self, planes: Tensor, points: Tensor, directions: Tensor | None) -> Tensor:
        """Read features at points seen along (B, N, 3) directions; volumes that do not depend on the view ignore them."""
        return self.sample(planes, points)

    @staticmethod
    def _check_points(planes: Tensor, points: Tensor) -> None:
        """Refuse points of another shape, batch or kind."""
        if points.ndim != 3 or points.shape[-1] != 3:
            raise VolumeError(f"expected points of shape (B, N, 3), got {tuple(points.shape)}")
        if points.shape[0] != planes.shape[0]:
            raise VolumeError(f"expected as many point sets as heads, got {points.shape[0]} and {planes.shape[0]}")
        if not torch.is_floating_point(points):
            raise VolumeError(f"expected floating-point world points, got {points.dtype}")


class VolumeSettings(ABC):
    """Settings of a volume. Subclasses are frozen dataclasses with a `kind` of their own, registered by `register_volume`."""

    kinds: ClassVar[Registry[type[VolumeSettings]]] = Registry("volume")
    """Settings classes by their `kind`, which tells them apart in a file."""
    kind: str
    """Name of the volume."""
    styled: ClassVar[bool] = False
    """Whether a head's style vector takes the place of the backbone's output."""
    box_size: float
    """Side of the cube in world units."""

    @abstractmethod
    def open(self) -> Volume:
        """Make the volume."""


V = TypeVar("V", bound=VolumeSettings)


def register_volume(settings: type[V]) -> type[V]:
    """Make a volume known to configs under the default of its settings' `kind`; used as a class decorator.

    Raises:
        RegistryError: another volume has the name.
    """
    VolumeSettings.kinds.add(settings.kind, settings)
    return settings
