"""What a renderer is: it turns a scene and rays into composed features, depth and opacity, and may own parameters.

How points get their features and densities is left to volumes and decoder; backgrounds, pictures and classes to the generator.
EG3D's march, GRAM's manifolds and GET3D's surface differ here and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ...manifests.registry import Registry
from ..nets.decoder import Decoder
from ..volumes.base import Volume
from .rays import Rays
from .splats.gaussians import Gaussians
from .surfaces.marching import Meshes


class RenderError(ValueError):
    """Rays, planes or random numbers that cannot be rendered; the message says what was expected and what came."""


class Field(Protocol):
    """Features and densities of a scene's points, each point on its own."""

    def __call__(self, points: Tensor, directions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (B, N, C) features and (B, N, 1) raw densities, softplus not yet taken.

        Args:
            points: (B, N, 3) world points.
            directions: (B, N, 3) unit vectors along which the points are seen; only fields that depend on the view read them,
                and take a point for seen from straight outside without.
        """
        ...


@dataclass(frozen=True)
class Scene:
    """A batch of heads to be rendered."""

    planes: Tensor
    """The volume's planes, one row a head."""
    sample: Callable[[Tensor], Tensor]
    """World points (B, N, 3) -> what the volume holds there, (B, N, F): what the decoder reads."""
    field: Field
    """World points -> features and raw densities: `sample` and the decoder."""


class SampleCounts(Protocol):
    """How many samples of a ray take random numbers."""

    @property
    def coarse_samples(self) -> int:
        """First samples."""

    @property
    def fine_samples(self) -> int:
        """Samples drawn from what the first ones found."""


@dataclass(frozen=True)
class Randomness:
    """Uniform numbers in [0, 1) and normal ones that a renderer uses; None in a place means the deterministic choice.

    Without any, coarse samples lie on their grid and fine ones at evenly spaced quantiles: one head gives one picture.
    """

    coarse: Tensor | None = None
    """(B, M, coarse samples): how far each coarse sample moves towards the next."""
    fine: Tensor | None = None
    """(B, M, fine samples): quantiles of the fine samples, in any order."""
    density: Tensor | None = None
    """(B, M, coarse + fine samples): what is added to raw densities."""

    @classmethod
    def draw(cls, rays: Tensor, settings: SampleCounts, generator: torch.Generator, density_noise: float = 0.0) -> Randomness:
        """Draw a training march's numbers; fine quantiles are stratified, so that they come sorted.

        Args:
            rays: (B, M, 3) origins or directions, for shape and device.
            settings: how many samples there are.
            generator: source of randomness, on any device; the same numbers come whatever the device and chunk of the march.
            density_noise: standard deviation of the noise on raw densities.
        """
        coarse, fine = settings.coarse_samples, settings.fine_samples
        jitter = uniform_numbers(rays, coarse, generator)
        quantiles = (uniform_numbers(rays, fine, generator) + torch.arange(fine, device=rays.device)) / max(fine, 1)
        return cls(jitter, quantiles, density_numbers(rays, coarse + fine, generator, density_noise))

    def check(self, rays: Tensor, settings: SampleCounts) -> None:
        """Refuse numbers that are not for these rays and samples.

        Raises:
            RenderError: a part has another shape.
        """
        coarse, fine = settings.coarse_samples, settings.fine_samples
        for name, part, count in (
            ("coarse", self.coarse, coarse),
            ("fine", self.fine, fine),
            ("density", self.density, coarse + fine),
        ):
            if part is not None and part.shape != (*rays.shape[:2], count):
                expected = (*rays.shape[:2], count)
                raise RenderError(f"expected {name} numbers of shape {expected}, got {tuple(part.shape)}")

    def rays(self, start: int, stop: int) -> Randomness:
        """Return the numbers of rays start to stop."""
        return Randomness(*(None if part is None else part[:, start:stop] for part in (self.coarse, self.fine, self.density)))


def uniform_numbers(rays: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw (B, M, count) numbers in [0, 1) for rays (B, M, 3), on the generator's device, and bring them to the rays'."""
    return torch.rand((*rays.shape[:2], count), generator=generator, device=generator.device).to(rays.device)


def density_numbers(rays: Tensor, count: int, generator: torch.Generator, deviation: float) -> Tensor | None:
    """Draw (B, M, count) normal numbers of a standard deviation for rays (B, M, 3); None, and nothing drawn, for 0."""
    if not deviation:
        return None
    noise = torch.randn((*rays.shape[:2], count), generator=generator, device=generator.device)
    return noise.to(rays.device) * deviation


@dataclass(frozen=True)
class Rendering:
    """What rays saw."""

    features: Tensor
    """(B, M, F) composed features; matter in front of nothing, so they fade to 0 with `weight`."""
    depth: Tensor
    """(B, M, 1) mean distance from the camera in world units; the farthest distance where a ray met nothing."""
    weight: Tensor
    """(B, M, 1) how much of the ray was stopped, in [0, 1]."""
    penalties: Mapping[str, Tensor] = field(default_factory=dict)
    """(B,) each: what a loss may keep small about the geometry, by name (`losses.renderer`)."""


class Renderer(nn.Module, ABC):
    """Renders scenes; its parameters are trained with the generator's."""

    reach: float | None = None
    """What is shown has |x| and |z| up to this; None for all that the volume spans."""

    @abstractmethod
    def forward(self, scene: Scene, rays: Rays, randomness: Randomness | None = None) -> Rendering:
        """Render a scene along rays.

        Args:
            scene: the heads.
            rays: what is looked along, whole square pictures.
            randomness: numbers that `draw` drew, or None for the deterministic rendering.

        Raises:
            RenderError: rays or numbers do not fit.
        """

    def draw(self, origins: Tensor, random: torch.Generator, density_noise: float = 0.0) -> Randomness:
        """Draw the numbers of a training rendering.

        Args:
            origins: (B, M, 3) of the rays, for shape and device.
            random: source of randomness.
            density_noise: standard deviation of noise on raw densities.
        """
        return Randomness()

    def solid(self, scene: Scene, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and raw densities of the volume that the renderer shows: what meshes and splats are made of.

        Args:
            scene: the heads.
            points: (B, N, 3) world points.

        Returns:
            (B, N, C) features, and (B, N, 1) raw densities: softplus(raw - 1) is absorbed in a world unit, as along a march.
        """
        return scene.field(points)

    def adopt(self, decoder: Decoder) -> bool:
        """Begin with the geometry that a march shows with this trained decoder; return whether this renderer can."""
        return False

    def splats(self, scene: Scene) -> tuple[Gaussians, Tensor] | None:
        """Return the very Gaussians that are drawn and their (N, C) features; None for renderers of anything else."""
        return None

    def mesh(self, scene: Scene) -> Meshes | None:
        """Return the very meshes that are drawn; None for renderers of volumes."""
        return None


class RendererSettings(ABC):
    """Settings of a renderer: frozen dataclasses with a `kind` of their own, registered by `register_renderer`."""

    kinds: ClassVar[Registry[type[RendererSettings]]] = Registry("renderer")
    """Settings classes by their `kind`, which tells them apart in a file."""
    kind: str
    """Name of the renderer."""
    penalties: ClassVar[Mapping[str, float]] = {}
    """Penalties that training keeps small, and their weights in a preset's recipe."""
    lr_factor: ClassVar[float] = 1.0
    """Learning rate of its parameters in a preset's recipe, as a factor on the generator's."""
    gradient_clip: ClassVar[float | None] = None
    """Largest norm of the gradient of its parameters in a preset's recipe; null for any."""

    @abstractmethod
    def open(self, volume: Volume) -> Renderer:
        """Make the renderer for a volume, whose `num_features` and `box_size` it may read."""


R = TypeVar("R", bound=RendererSettings)


def register_renderer(settings: type[R]) -> type[R]:
    """Make a renderer known to configs under the default of its settings' `kind`; used as a class decorator.

    Raises:
        RegistryError: another renderer has the name.
    """
    RendererSettings.kinds.add(settings.kind, settings)
    return settings
