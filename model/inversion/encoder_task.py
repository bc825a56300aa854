"""What a head encoder learns from: the generator's own samples, whose style and camera are exact, and rendered people.

The loop is that of `annotators.training`; the network is `encoder`. Pictures are a function of their number and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.arrays import Pixels
from ...datasets.camera import Camera
from ...datasets.report.overlay import fit
from ...datasets.shards.inspect import iterate
from ...manifests.config import ConfigError, check_ranges
from ...manifests.identity import rng
from ..annotators.checkpoint import CHECKPOINT, load_average
from ..annotators.losses import geodesic, laplace_nll
from ..annotators.networks import HeadNet
from ..evaluation.known_persons import TABLE, person_rows
from ..generator import Generator
from ..nets.efficientnet import load_imagenet
from ..nets.persons import PersonTable
from ..nets.upsampler import resize
from ..store import read_tensors
from ..visualization.views import to_pixels
from .cameras import CameraPrior, rotation
from .encoder import Encoded, EncoderSettings, HeadEncoder, about_camera
from .objective import Objective, ObjectiveSettings, total
from .style_space import StyleSpace, shared_planes
from .targets import Targets, targets_of

PEOPLE = ObjectiveSettings(perceptual=0.0, ground=0.0)
"""What the pictures of rendered people are compared by."""


@dataclass(frozen=True)
class EncoderTaskSettings:
    """How its pictures are drawn, and the weights of its terms."""

    views: int = 2
    """Pictures of each drawn head."""
    pool: int = 4096
    """Drawn pictures that are rendered once and photographed anew each time they come up, kept in memory; 0 for fresh ones."""
    pitch_degrees: float = 15.0
    """Standard deviation of the cameras' elevation; azimuths are uniform."""
    roll_degrees: float = 6.0
    """Standard deviation of their roll."""
    known: float = 0.6
    """Share of pictures whose camera the network is told, with an error."""
    error_degrees: float = 12.0
    """Largest standard deviation of that error, for each of three angles."""
    exposure: float = 0.08
    """Standard deviation of the binary logarithm of a picture's exposure, and a third of it for each colour."""
    noise: float = 0.03
    """Largest standard deviation of pixel noise, in [-1, 1]."""
    style: float = 1.0
    """Weight of the coordinates' mean square error, each by what its axis adds to style vectors."""
    ground: float = 0.1
    """Weight of the same of the ground's."""
    turn: float = 1.0
    """Weight of the camera's angle in radians."""
    spread: float = 0.02
    """Weight of the likelihood that its expected error learns from."""
    picture: float = 1.0
    """Weight of the inversion's objective on people's pictures."""
    people: int = 14
    """Pictures of rendered people in a batch, where a set of them is given; at most half of it."""

    def __post_init__(self) -> None:
        check_ranges(self, views=(1, 64), pool=(0, 1 << 20), known=(0, 1), error_degrees=(0, 90))
        check_ranges(self, pitch_degrees=(0, 80), roll_degrees=(0, 180), exposure=(0, 4), noise=(0, 1), people=(0, 64))


def read_people(folder: Path, generator: Generator) -> Targets:
    """Return the pictures of a data set's split `train` at a generator's resolution, their cameras taken as exact.

    Raises:
        TargetError: the split is empty, or a sample has no matte or camera.
    """
    shape = generator.settings
    samples = list(iterate(folder, "train"))
    return targets_of(samples, shape.upsampler.resolution, shape.neural_resolution, 0, [0.0] * len(samples))


def known_styles(folder: Path, checkpoint: Path, space: StyleSpace, ids: Sequence[str]) -> Tensor:
    """Return the (N, K) coordinates of the people that pictures show; NaN where the checkpoint's table has none.

    Args:
        folder: the data set.
        checkpoint: of the generator's own training, with its table of persons.
        space: the generator's Gaussian of style vectors.
        ids: of the pictures.

    Raises:
        ConfigError: the checkpoint has no table, or it knows nobody of the set.
    """
    if not (checkpoint / TABLE).is_file():
        raise ConfigError(f"expected {TABLE} in {checkpoint}; give a checkpoint of a training that learned from views")
    table = PersonTable.of(read_tensors(checkpoint / TABLE))
    rows = person_rows(folder, table)
    if not rows:
        raise ConfigError(f"the table of persons in {checkpoint} knows nobody of {folder}; give the set that it learned from")
    styles = space.coordinates(table.styles.detach())
    unknown = torch.full((space.size,), math.nan)
    return torch.stack([styles[rows[key]] if key in rows else unknown for key in ids])


class EncoderTask:
    """Style, ground and camera of a head in a picture; a task of `annotators.tasks`."""

    def __init__(
        self, generator: Generator, space: StyleSpace, sha256: str, shape: EncoderSettings, seed: int = 0,
        settings: EncoderTaskSettings = EncoderTaskSettings(), people: Targets | None = None, start: Path | None = None,
        styles: Tensor | None = None,
    ) -> None:  # fmt: skip
        """Take what does not change.

        Args:
            generator: whose samples it learns from.
            space: its Gaussian of style vectors.
            sha256: digest of the generator's file, which the run is tied to.
            shape: of the network.
            seed: of the first weights and of everything drawn.
            settings: how pictures are drawn.
            people: what `read_people` returned, or None.
            start: a run of the annotators' head task whose features are the first ones; None for ImageNet's.
            styles: what `known_styles` returned of the people; None where nobody's style is known.

        Raises:
            ConfigError: the shape is not that of the style vectors.
        """
        if (shape.size, shape.ground_size) != (space.size, space.ground_size):
            expected = f"{space.size} coordinates of heads and {space.ground_size} of grounds"
            raise ConfigError(f"expected {expected}, as the generator has, got {shape.size} and {shape.ground_size}")
        self.generator, self.space, self.shape = generator.eval().requires_grad_(False), space, shape
        self.seed, self.settings, self.people, self.start = seed, settings, people, start
        self.name = f"encoder of {sha256[:16]}"
        size = space.factor.square().sum(dim=0)
        self.weights = 0.9 * size / size.mean().clamp_min(1e-12) + 0.1
        self.known = styles
        self._rendered: dict[int, tuple[Tensor, Tensor]] = {}

    def network(self) -> nn.Module:
        """Return the network before training."""
        torch.manual_seed(self.seed)
        network = HeadEncoder(self.shape)
        if self.start is not None:
            head = HeadNet()
            load_average(self.start / CHECKPOINT, head)
            network.encoder.load_state_dict(head.encoder.state_dict())
        else:
            load_imagenet(network.encoder)
        return network

    def batch(self, numbers: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return (B, 4, R, R) pictures with masks, and what is true of them; the last are people's where there are some."""
        count = min(self.settings.people, len(numbers) // 2) if self.people is not None else 0
        own = numbers[: len(numbers) - count]
        pictures, truth = self._drawn(own)
        if count and self.people is not None:
            chosen = [int(rng(self.seed, str(number), "person").integers(len(self.people.ids))) for number in numbers[-count:]]
            rows = zip(chosen, numbers[-count:], strict=True)
            shots = [self._photographed(self.people.image[row], self.people.mask[row], number) for row, number in rows]
            labels = self.people.camera[chosen]
            pictures = torch.cat([pictures, torch.stack(shots)])
            styles = torch.full((count, self.space.size), math.nan) if self.known is None else self.known[chosen]
            truth["head"] = torch.cat([truth["head"], styles])
            truth["ground"] = torch.cat([truth["ground"], torch.zeros(count, self.space.ground_size)])
            truth["camera"] = torch.cat([truth["camera"], labels])
        truth["rotation"] = truth["camera"][:, :16].view(-1, 4, 4)[:, :3, :3].transpose(1, 2)
        truth["about"] = self._about(numbers, truth["rotation"])
        truth["drawn"] = torch.tensor(len(own))
        return pictures, truth

    @torch.no_grad()
    def _drawn(self, numbers: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return photographs of drawn heads, and what is true of them."""
        shown = [number % self.settings.pool if self.settings.pool else number for number in numbers]
        coordinates = torch.stack([self._normal(number // self.settings.views, "head", self.space.size) for number in shown])
        grounds = torch.stack([self._normal(number, "ground", self.space.ground_size) for number in shown])
        labels = torch.stack([self._camera(number) for number in shown])
        pictures = [self._photographed(*self._picture_of(one), number) for one, number in zip(shown, numbers, strict=True)]
        if not self.settings.pool:
            self._rendered.clear()
        return torch.stack(pictures), {"head": coordinates, "ground": grounds, "camera": labels}

    def _picture_of(self, number: int) -> tuple[Tensor, Tensor]:
        """Return a drawn picture (3, R, R) and its mask (1, R, R); all pictures of its head are rendered together and kept."""
        if number not in self._rendered:
            settings, space = self.settings, self.space
            head = number // settings.views
            together = range(head * settings.views, (head + 1) * settings.views)
            grounds = torch.stack([self._normal(one, "ground", space.ground_size) for one in together])
            ws = space.styles(self._normal(head, "head", space.size), grounds)
            labels = torch.stack([self._camera(one) for one in together])
            made = self.generator.synthesise(ws, labels, planes=shared_planes(self.generator, ws))
            assert made.mask is not None
            masks = resize(made.mask.float(), made.image.shape[-1]).clamp(0, 1).half()
            self._rendered.update(zip(together, zip(made.image.half(), masks, strict=True), strict=True))
        return self._rendered[number]

    def _normal(self, number: int, what: str, size: int) -> Tensor:
        return torch.from_numpy(rng(self.seed, str(number), what).standard_normal(size, dtype=np.float32))

    def _camera(self, number: int) -> Tensor:
        """Return the (25,) label of a picture by number: from anywhere, the crop a little off."""
        draw, prior = rng(self.seed, str(number), "camera"), CameraPrior()
        pitch, roll = (math.radians(part) * draw.standard_normal() for part in
                       (self.settings.pitch_degrees, self.settings.roll_degrees))  # fmt: skip
        camera = Camera.look_at(draw.uniform(-math.pi, math.pi), float(np.clip(pitch, -1.2, 1.2)), roll)
        label = torch.from_numpy(camera.label())
        label[[16, 20]] *= math.exp(prior.zoom * draw.standard_normal())
        label[[18, 21]] += torch.from_numpy(prior.shift * draw.standard_normal(2)).float()
        return label

    def _photographed(self, image: Tensor, mask: Tensor, number: int) -> Tensor:
        """Return a (4, R, R) picture as a camera might have taken it: exposure, colour of the light and noise differ."""
        draw, settings = rng(self.seed, str(number), "photograph"), self.settings
        gain = 2.0 ** (settings.exposure * (draw.standard_normal() + draw.standard_normal(3) / 3.0))
        noise = draw.random() * settings.noise * draw.standard_normal(image.shape, dtype=np.float32)
        light = (image.float() + 1.0) * torch.from_numpy(gain).float()[:, None, None] - 1.0
        return torch.cat([(light + torch.from_numpy(noise)).clamp(-1, 1), mask.float()])

    def _about(self, numbers: Sequence[int], truth: Tensor) -> Tensor:
        """Return what the network is told of the cameras: an estimate with an error of a told size, or nothing."""
        settings, errors, turns, known = self.settings, [], [], []
        for number in numbers:
            draw = rng(self.seed, str(number), "estimate")
            error = math.radians(settings.error_degrees) * draw.random()
            errors.append(error)
            turns.append(error * draw.standard_normal(3))
            known.append(float(draw.random() < settings.known))
        estimate = rotation(torch.from_numpy(np.array(turns)).float()) @ truth
        return about_camera(estimate, torch.tensor(errors), torch.tensor(known))

    def losses(self, network: nn.Module, pictures: Tensor, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted terms: errors of known styles, drawn grounds and every camera, and other people's pictures."""
        settings, drawn = self.settings, int(truth["drawn"])
        said: Encoded = network(pictures, truth["about"])
        angle = geodesic(said.rotation, truth["rotation"])
        known = truth["head"].isfinite().all(dim=1)
        every = said.head[known, None] + (said.layers[known] if self.shape.num_layers else 0.0)
        wrong = (every - truth["head"][known, None]).square()
        terms = {
            "style": settings.style * (wrong * self.weights).mean(),
            "turn": settings.turn * angle.mean(),
            "spread": settings.spread * laplace_nll(angle.detach(), said.log_spread, 3).mean(),
        }
        if self.space.ground_size:
            terms["ground"] = settings.ground * (said.ground[:drawn] - truth["ground"][:drawn]).square().mean()
        if not bool(known.all()):
            terms["picture"] = settings.picture * self._picture(said, pictures, truth["camera"], ~known)
        return terms

    def _picture(self, said: Encoded, pictures: Tensor, cameras: Tensor, rows: Tensor) -> Tensor:
        """Return the inversion's objective of what the generator makes of some answers at their true cameras."""
        image, mask, labels = pictures[rows, :3], pictures[rows, 3:], cameras[rows]
        ids, error = ("",) * len(labels), torch.zeros(len(labels))
        targets = Targets(ids, image, mask, labels, error)
        objective = Objective(targets, self.generator.settings.neural_resolution, False, None, PEOPLE)
        return total(objective(self.generator.synthesise(self.styles(said, rows), labels)))

    def styles(self, said: Encoded, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return the (B, num_ws, w_dim) style vectors of answers."""
        layers = said.layers[rows] if self.shape.num_layers else None
        return self.space.several(said.head[rows], said.ground[rows], layers)

    @torch.no_grad()
    def sheet(self, network: nn.Module, numbers: list[int]) -> Pixels:
        """Draw pictures above what the generator makes of the answers at the true cameras."""
        pictures, truth = self.batch(numbers)
        said: Encoded = network(pictures, truth["about"])
        made = self.generator.synthesise(self.styles(said), truth["camera"])
        rows = [to_pixels(pictures[:, :3]), to_pixels(made.image)]
        return np.vstack([np.hstack([fit(picture, 128) for picture in row]) for row in rows])
