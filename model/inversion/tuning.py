"""Second stage of an inversion: pivotal tuning (Roich et al. 2022) of the generator about the style that was found.

What the photographs do not show is held: mask, depth and raw colour at cameras all around the head stay those of the generator
before. Only backbone, raw layer, class head and super-resolution move; the decoder, which makes density, stays.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...datasets.camera import Camera
from ...manifests.config import check_ranges
from ...manifests.identity import rng
from ..generator import Generator
from ..portrait import Portrait
from ..visualization.views import RenderSettings
from ..volume_rendering.rays import camera_angles
from .objective import Objective, total
from .search import optimiser_state, ramp, restore_optimiser
from .style_space import repeated

TUNED = ("backbone", "to_raw", "parsing", "upsampler")
"""Parts of the generator that are tuned."""


@dataclass(frozen=True)
class TuningSettings:
    """How the generator is tuned."""

    steps: int = 100
    """Steps; 0 for no tuning."""
    rate: float = 1e-3
    """Learning rate."""
    cameras: int = 32
    """Cameras all around the head at which it is held."""
    held_each_step: int = 1
    """Of these, how many are looked at in each step."""
    mask: float = 1.0
    """Weight of the mean square by which masks differ."""
    depth: float = 4.0
    """Weight of the mean square by which depths differ, inside the head."""
    colour: float = 1.0
    """Weight of the L1 of raw pictures, times how far the camera is turned from the photographs' (0 at them, 1 opposite)."""
    pitch_degrees: float = 15.0
    """Standard deviation of these cameras' elevation."""
    seed: int = 0
    """Seed of the cameras."""
    within_degrees: float = 110.0
    """Largest azimuth of a photograph that the weights are tuned to: from behind, tuning made what is hidden worse."""
    error_degrees: float = 10.0
    """Largest standard deviation of its camera's angles: details would be painted where they are not."""

    def __post_init__(self) -> None:
        check_ranges(self, steps=(0, 100_000), rate=(0, 1), cameras=(1, 1000), held_each_step=(0, 1000))
        check_ranges(self, mask=(0, 1e3), depth=(0, 1e3), colour=(0, 1e3), pitch_degrees=(0, 80))


def tuned_rows(cameras: Tensor, angle_error: Tensor, settings: TuningSettings) -> list[int]:
    """Return which photographs the weights are tuned to: those that show a face from a camera that is known well enough.

    Args:
        cameras: (B, 25) labels.
        angle_error: (B,) standard deviation of each of a camera's angles in radians.
        settings: the limits.
    """
    azimuths = camera_angles(cameras)[:, 0].abs().rad2deg()
    fit = (azimuths <= settings.within_degrees) & (angle_error.to(azimuths).rad2deg() <= settings.error_degrees)
    return fit.nonzero()[:, 0].tolist() if settings.steps else []


def held_cameras(settings: TuningSettings) -> Tensor:
    """Return (N, 25) cameras at which tuning holds the head, all around it."""
    return _around(settings, "held")


def judged_cameras(settings: TuningSettings) -> Tensor:
    """Return (N, 25) other cameras all around the head, from which it is told how far tuning moved it."""
    return _around(settings, "judged")


def _around(settings: TuningSettings, purpose: str) -> Tensor:
    """Return cameras around the head: azimuths evenly over the circle, in a shuffled order, elevations normal."""
    draw = rng(settings.seed, "inversion", purpose)
    yaws = (draw.permutation(settings.cameras) + draw.random(settings.cameras)) * 2 * math.pi / settings.cameras
    pitches = draw.normal(0.0, math.radians(settings.pitch_degrees), settings.cameras).clip(-1.0, 1.0)
    labels = [Camera.look_at(float(yaw), float(pitch)).label() for yaw, pitch in zip(yaws, pitches, strict=True)]
    return torch.stack([torch.from_numpy(label) for label in labels])


class Tuning:
    """The descent of a copy of the generator, one step at a time; its state can be kept and taken up again."""

    def __init__(
        self, generator: Generator, ws: Tensor, cameras: Tensor, objective: Objective,
        settings: TuningSettings = TuningSettings(), rendering: RenderSettings | None = None,
    ) -> None:  # fmt: skip
        """Render what is held, and copy the generator.

        Args:
            generator: as trained; it is left as it is.
            ws: (B, num_ws, w_dim) style vectors that were found.
            cameras: (B, 25) the photographs' cameras, refined.
            objective: what is minimised at these.
            settings: how to tune.
            rendering: how to render; None for the generator's settings.
        """
        self.settings, self.ws, self.cameras, self.objective = settings, ws, cameras, objective
        self.rendering = rendering or RenderSettings()
        self.before = {name: value.detach().clone() for name, value in tuned_parameters(generator).items()}
        self.generator = copy.deepcopy(generator).requires_grad_(False)
        for value in tuned_parameters(self.generator).values():
            value.requires_grad_(True)
        self.optimiser = torch.optim.Adam(tuned_parameters(self.generator).values(), lr=settings.rate, betas=(0.9, 0.99))
        self.done = 0
        self.held_labels = held_cameras(settings).to(ws.device)
        self.held = self._held(generator)
        seen = torch.nn.functional.normalize(cameras[:, [3, 7, 11]], dim=1)
        place = torch.nn.functional.normalize(self.held_labels[:, [3, 7, 11]], dim=1)
        self.turned = 0.5 * (1.0 - (place @ seen.T).amax(dim=1))

    @torch.no_grad()
    def _held(self, generator: Generator) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return mask, depth and raw picture at every held camera, of the generator before."""
        planes = generator.planes(self.ws[:1])
        found = []
        for label in self.held_labels.split(1):
            seen = generator.synthesise(self.ws[:1], label, planes=planes, neural_resolution=self.rendering.neural_resolution)
            assert seen.mask is not None and seen.depth is not None
            found.append((seen.mask, seen.depth, seen.raw))
        return found

    def portrait(self, planes: Tensor | None = None) -> Portrait:
        """Return what the tuned generator shows at the photographs' cameras, from its planes of the head where given."""
        rendering = self.rendering
        planes = self.generator.planes(self.ws[:1]) if planes is None else planes
        return self.generator.synthesise(
            self.ws,
            self.cameras,
            planes=repeated(planes, len(self.ws)),
            neural_resolution=rendering.neural_resolution,
            image_resolution=rendering.image_resolution,
            fade=rendering.fade,
        )

    def step(self) -> float:
        """Take one step; return the loss before it."""
        settings = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate * ramp(self.done, settings.steps)
        self.optimiser.zero_grad(set_to_none=True)
        planes = self.generator.planes(self.ws[:1])
        terms = self.objective(self.portrait(planes))
        if settings.held_each_step:
            terms["held"] = self._drift(planes)
        loss = total(terms)
        loss.backward()
        self.optimiser.step()
        self.done += 1
        return float(loss.detach())

    def _drift(self, planes: Tensor) -> Tensor:
        """Return how far mask, depth and colour have left what they were, at the next of the held cameras."""
        settings, count = self.settings, self.settings.held_each_step
        rows = [(self.done * count + offset) % len(self.held) for offset in range(count)]
        labels = self.held_labels[rows]
        ws, rays = self.ws[:1].expand(count, -1, -1), self.rendering.neural_resolution
        seen = self.generator.synthesise(ws, labels, planes=repeated(planes, count), neural_resolution=rays)
        assert seen.mask is not None and seen.depth is not None
        mask, depth, raw = (torch.cat([self.held[row][part] for row in rows]) for part in range(3))
        inside = mask.clamp(0, 1)
        turned = self.turned[rows][:, None, None, None]
        away = (inside * (seen.depth - depth).square()).sum() / inside.sum().clamp_min(1.0)
        colour = (turned * inside * (seen.raw - raw).abs()).sum() / (3 * inside.sum().clamp_min(1.0))
        return settings.mask * (seen.mask - mask).square().mean() + settings.depth * away + settings.colour * colour

    def changes(self) -> dict[str, Tensor]:
        """Return what was added to each tuned tensor, in half precision: small numbers lose least."""
        now = tuned_parameters(self.generator)
        return {name: (now[name].detach() - value).half() for name, value in self.before.items()}

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later `restore` needs to take the next step bit-exact."""
        found = {f"tuned.{name}": value.detach().clone() for name, value in tuned_parameters(self.generator).items()}
        return found | optimiser_state(self.optimiser) | {"done": torch.tensor(self.done)}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` returned."""
        for name, value in tuned_parameters(self.generator).items():
            value.copy_(state[f"tuned.{name}"])
        restore_optimiser(self.optimiser, state)
        self.done = int(state["done"])


def tuned_parameters(generator: Generator) -> dict[str, nn.Parameter]:
    """Return the parameters that tuning moves, by name."""
    return {name: value for name, value in generator.named_parameters() if name.split(".")[0] in TUNED}


@torch.no_grad()
def with_changes(generator: Generator, changes: dict[str, Tensor]) -> Generator:
    """Return a copy of a generator with what `Tuning.changes` returned added.

    Raises:
        ValueError: a change has no place in this generator.
    """
    changed = copy.deepcopy(generator)
    parameters = dict(changed.named_parameters())
    for name, value in changes.items():
        if name not in parameters or parameters[name].shape != value.shape:
            raise ValueError(
                f"expected changes of this generator's weights, got {name!r} {tuple(value.shape)}; take its own run"
            )
        parameters[name].add_(value.to(parameters[name].dtype))
    return changed
