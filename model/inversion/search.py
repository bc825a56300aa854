"""First stage of an inversion: style vectors and cameras, by gradient descent from the mean head.

Cameras hardly leave what the pipeline estimated: the objective of a head that the generator cannot draw exactly is often lower
at a wrong camera than at the true one. Those that the pipeline itself calls uncertain are tried from several sides, and another
start must be clearly better. The generator's weights stay; changing them is left to `tuning`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...manifests.config import ConfigError, check_ranges
from ..generator import Generator
from ..portrait import Portrait
from ..visualization.views import RenderSettings
from ..volume_rendering.rays import camera_angles
from .cameras import NUM_UNITS, CameraPrior, moved
from .objective import Objective, total
from .style_space import StyleSpace, shared_planes
from .targets import Targets

START_RATE = 2.0
"""Times the learning rate of styles while a start is tried."""
Tick = Callable[[str, int, int, float], None]
"""Told of every step: stage, steps done, steps in all, loss."""


@dataclass(frozen=True)
class SearchSettings:
    """How style and camera are searched."""

    steps: int = 200
    """Steps of the joint search from the mean head."""
    warm_steps: int = 80
    """Steps of the joint search from an encoder's answer."""
    camera_steps: int = 0
    """Steps before in which only camera and ground move: towards how the mean head looks most like the photograph."""
    style_rate: float = 0.06
    """Learning rate of the coordinates of the style, in standard deviations."""
    camera_rate: float = 0.03
    """Learning rate of the cameras, in standard deviations."""
    prior: float = 0.02
    """Weight of the mean square of the style's coordinates."""
    camera_prior: float = 0.2
    """Weight of the mean square of the cameras' moves."""
    layers: bool = False
    """Search style vectors of every layer (W+) and not one for all (W)."""
    layer_prior: float = 0.2
    """Weight of the mean square of what the layers differ by."""
    starts_degrees: tuple[float, ...] = (0.0, -20.0, 20.0)
    """Azimuths, from the estimate, that uncertain cameras are tried from."""
    starts_pitch_degrees: tuple[float, ...] = (-12.0, 12.0)
    """Elevations, from the estimate, that they are tried from too, at its azimuth."""
    start_margin: float = 0.02
    """Share of its loss by which another start must be below the estimate's."""
    behind_degrees: float = 110.0
    """Azimuth from which a camera is tried whatever its expected error."""
    start_steps: int = 30
    """Steps of each try."""
    uncertain_degrees: float = 8.0
    """Standard deviation of its angles from which a camera counts as uncertain."""
    camera: CameraPrior = CameraPrior()
    """How far the crop may be off."""

    def __post_init__(self) -> None:
        check_ranges(self, steps=(1, 100_000), warm_steps=(1, 100_000), camera_steps=(0, 100_000), start_steps=(1, 100_000))
        check_ranges(self, style_rate=(0, 10), camera_rate=(0, 10), prior=(0, 1e3), camera_prior=(0, 1e3), layer_prior=(0, 1e3))
        check_ranges(self, start_margin=(0, 1))
        if not self.starts_degrees:
            raise ConfigError("expected at least one azimuth in starts_degrees, got none")

    def warm(self) -> SearchSettings:
        """Return the settings of a search that starts at an encoder's answer."""
        return dataclasses.replace(self, steps=self.warm_steps, camera_steps=0)

    @property
    def offsets(self) -> tuple[tuple[float, float], ...]:
        """Azimuth and elevation in degrees of every start, the estimate itself first where it is among them."""
        return tuple((degrees, 0.0) for degrees in self.starts_degrees) + tuple(
            (0.0, degrees) for degrees in self.starts_pitch_degrees
        )


class Guess(nn.Module):
    """What is searched: coordinates of the style and the grounds, and the moves of the cameras."""

    def __init__(self, space: StyleSpace, targets: Targets, settings: SearchSettings = SearchSettings()) -> None:
        super().__init__()
        count, device = len(targets.ids), space.mean.device
        self.space, self.targets, self.settings = space, targets, settings
        self.head = nn.Parameter(torch.zeros(space.size, device=device))
        self.ground = nn.Parameter(torch.zeros(count, space.ground_size, device=device))
        self.units = nn.Parameter(torch.zeros(count, NUM_UNITS, device=device))
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(count, NUM_UNITS, device=device))
        shape = (space.num_layers, space.size) if settings.layers else (0, space.size)
        self.layers = nn.Parameter(torch.zeros(shape, device=device))

    @torch.no_grad()
    def begin_at(self, units: Tensor) -> None:
        """Take (B, 6) moves as the cameras' start, which the prior holds them to."""
        self.units.copy_(units)
        self.centre.copy_(units)

    def styles(self) -> Tensor:
        """Return the (B, num_ws, w_dim) style vectors."""
        return self.space.styles(self.head, self.ground, self.layers if len(self.layers) else None)

    def cameras(self) -> Tensor:
        """Return the (B, 25) moved labels."""
        return moved(self.targets.camera, self.units, self.targets.angle_error, self.settings.camera)

    def priors(self) -> dict[str, Tensor]:
        """Return the weighted priors of style, ground and cameras."""
        settings = self.settings
        found = {"prior": settings.prior * self.head.square().mean()}
        found["camera prior"] = settings.camera_prior * (self.units - self.centre).square().mean()
        if self.ground.numel():
            found["ground prior"] = settings.prior * self.ground.square().mean()
        if len(self.layers):
            found["layer prior"] = settings.layer_prior * self.layers.square().mean()
        return found


class Search:
    """The descent of a guess, one step at a time; its state can be kept and taken up again."""

    def __init__(
        self, generator: Generator, guess: Guess, objective: Objective, rendering: RenderSettings | None = None
    ) -> None:
        self.generator, self.guess, self.objective = generator.requires_grad_(False), guess, objective
        self.rendering = rendering or RenderSettings()
        settings = guess.settings
        self.steps = settings.camera_steps + settings.steps
        self.done = 0
        style = [guess.head, guess.layers]
        self.optimiser = torch.optim.Adam(
            [{"params": style, "base": settings.style_rate}, {"params": [guess.ground], "base": settings.style_rate},
             {"params": [guess.units], "base": settings.camera_rate}], betas=(0.9, 0.99),
        )  # fmt: skip

    def portrait(self) -> Portrait:
        """Return what the guess looks like from its cameras."""
        rendering, ws = self.rendering, self.guess.styles()
        return self.generator.synthesise(
            ws,
            self.guess.cameras(),
            planes=shared_planes(self.generator, ws),
            neural_resolution=rendering.neural_resolution,
            image_resolution=rendering.image_resolution,
            fade=rendering.fade,
        )

    def step(self) -> float:
        """Take one step; return the loss before it."""
        settings = self.guess.settings
        alone = self.done < settings.camera_steps
        rate = ramp(self.done, settings.camera_steps) if alone else ramp(self.done - settings.camera_steps, settings.steps)
        for index, group in enumerate(self.optimiser.param_groups):
            group["lr"] = 0.0 if alone and index == 0 else group["base"] * rate
        self.optimiser.zero_grad(set_to_none=True)
        loss = total({**self.objective(self.portrait()), **self.guess.priors()})
        loss.backward()
        self.optimiser.step()
        self.done += 1
        return float(loss.detach())

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later `restore` needs to take the next step bit-exact."""
        found = {f"guess.{name}": value.detach().clone() for name, value in self.guess.state_dict().items()}
        return found | optimiser_state(self.optimiser) | {"done": torch.tensor(self.done)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` returned."""
        mine = {name.removeprefix("guess."): value for name, value in state.items() if name.startswith("guess.")}
        self.guess.load_state_dict(mine)
        restore_optimiser(self.optimiser, state)
        self.done = int(state["done"])


def ramp(step: int, steps: int, up: float = 0.05, down: float = 0.25) -> float:
    """Return the factor on the learning rate: a linear rise, and a cosine fall at the end (Karras et al. 2020, projection)."""
    share = (step + 1) / max(steps, 1)
    return min(1.0, share / up) * 0.5 * (1.0 - math.cos(math.pi * min(1.0, (1.0 - step / max(steps, 1)) / down)))


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return Adam's moments as named tensors."""
    plain = optimiser.state_dict()["state"]
    return {f"adam.{index}.{name}": value.clone() for index, values in plain.items() for name, value in values.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
    """Give Adam the moments that `optimiser_state` returned."""
    plain = optimiser.state_dict()
    plain["state"] = {}
    for name, value in state.items():
        if name.startswith("adam."):
            _, index, key = name.split(".")
            plain["state"].setdefault(int(index), {})[key] = value.clone()
    optimiser.load_state_dict(plain)


@dataclass(frozen=True)
class Start:
    """One direction that an uncertain camera was tried from."""

    photograph: int
    degrees: float
    """Azimuth from the estimate."""
    loss: float
    pitch: float = 0.0
    """Elevation from the estimate, in degrees."""


def choose_starts(
    generator: Generator, space: StyleSpace, targets: Targets, objective: Objective, settings: SearchSettings,
    rendering: RenderSettings | None = None, tick: Tick | None = None,
) -> tuple[Tensor, list[Start]]:  # fmt: skip
    """Return the (B, 6) moves that the cameras begin at, and what was tried.

    Each uncertain camera in turn is held at every start while a style is fitted, without the perceptual term. The least loss
    wins where it is below the first start's by the margin.
    """
    units = torch.zeros(len(targets.ids), NUM_UNITS, device=space.mean.device)
    behind = camera_angles(targets.camera)[:, 0].abs().rad2deg() >= settings.behind_degrees
    uncertain = (behind | (targets.angle_error.rad2deg() >= settings.uncertain_degrees)).nonzero()[:, 0].tolist()
    held = dataclasses.replace(
        settings, steps=settings.start_steps, camera_steps=0, camera_rate=0.0, camera_prior=0.0,
        style_rate=START_RATE * settings.style_rate,
    )  # fmt: skip
    judged, tried = objective.plain(), list[Start]()
    if len(settings.offsets) < 2:
        return units, tried
    count = len(uncertain) * len(settings.offsets) * settings.start_steps
    for row in uncertain:
        found: list[tuple[float, Tensor]] = []
        for degrees, pitch in settings.offsets:
            guess = Guess(space, targets, held)
            there = units.clone()
            there[row] += _turned(targets.camera[row], degrees, pitch, targets.angle_error[row])
            guess.begin_at(there)
            search = Search(generator, guess, judged, rendering)
            for number in range(settings.start_steps):
                loss = search.step()
                if tick is not None:
                    tick("starts", len(tried) * settings.start_steps + number + 1, count, loss)
            with torch.no_grad():
                loss = float(total(judged(search.portrait())))
            tried.append(Start(row, degrees, loss, pitch))
            found.append((loss, there[row]))
        best = min(found, key=lambda pair: pair[0])
        units[row] = (best if best[0] < (1.0 - settings.start_margin) * found[0][0] else found[0])[1]
    return units, tried


def _turned(camera: Tensor, azimuth: float, pitch: float, error: Tensor) -> Tensor:
    """Return the (6,) move that turns a (25,) camera about the world's y axis, or about its own x axis, by degrees."""
    own = camera[:16].view(4, 4)[:3, :3]
    units = torch.zeros(NUM_UNITS, device=camera.device)
    around = own.T @ torch.tensor([0.0, math.radians(azimuth), 0.0], device=camera.device)
    units[:3] = (around + torch.tensor([-math.radians(pitch), 0.0, 0.0], device=camera.device)) / error
    return units
