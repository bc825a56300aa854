"""What a head encoder learns from: the generator's own samples, whose style and camera are exact, and rendered people.

The loop is that of `annotators.training`; the network is `encoder`. Pictures are a function of their number and the seed. What
learns is the reader of features; these are computed once for every picture and kept, so that thousands of passes cost minutes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.arrays import Pixels
from ...datasets.camera import Camera
from ...datasets.report.tiles import fit
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
from .encoder import Encoded, EncoderSettings, FeatureReader, HeadEncoder, about_camera
from .objective import Objective, ObjectiveSettings, total
from .style_space import StyleSpace, shared_planes
from .targets import Targets, targets_of

FRESH = 1 << 32
"""Number from which drawn pictures are of no pool: those on sheets and of measurements."""
PEOPLE = ObjectiveSettings(perceptual=0.0, ground=0.0)
"""What the pictures of rendered people are compared by."""


@dataclass(frozen=True)
class EncoderTaskSettings:
    """How its pictures are drawn, and the weights of its terms."""

    views: int = 2
    """Pictures of each drawn head."""
    pool: int = 6144
    """Drawn pictures, after which the first one comes up again."""
    shots: int = 2
    """Photographs taken of each picture, which differ in exposure and noise."""
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
        check_ranges(self, views=(1, 64), pool=(1, FRESH), shots=(1, 64), known=(0, 1), error_degrees=(0, 90))
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
            start: a run of the annotators' head task whose features are read; None for ImageNet's.
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
        self._kept: dict[int, Tensor] = {}
        self._truth: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    @functools.cached_property
    def backbone(self) -> HeadEncoder:
        """The network whose features are read."""
        torch.manual_seed(self.seed)
        found = HeadEncoder(self.shape)
        if self.start is not None:
            head = HeadNet()
            load_average(self.start / CHECKPOINT, head)
            found.encoder.load_state_dict(head.encoder.state_dict())
        else:
            load_imagenet(found.encoder)
        return found.eval().requires_grad_(False)

    def network(self) -> nn.Module:
        """Return the reader before training; the network whose features it reads is made too, before threads draw batches."""
        _ = self.backbone  # its first weights come from torch's one generator, which threads share
        torch.manual_seed(self.seed)
        return FeatureReader(self.shape)

    def whole(self, reader: nn.Module) -> HeadEncoder:
        """Return a trained reader with the network whose features it reads."""
        assert isinstance(reader, FeatureReader)
        found = HeadEncoder(self.shape, reader)
        found.encoder.load_state_dict(self.backbone.encoder.state_dict())
        return found.eval()

    def batch(self, numbers: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the (B, F) features of photographs, and what is true of them; the last are people's where there are some."""
        count = min(self.settings.people, len(numbers) // 2) if self.people is not None else 0
        own, others = numbers[: len(numbers) - count], numbers[len(numbers) - count :]
        shown = [number if number >= FRESH else number % self.settings.pool for number in own]
        features = [self._own_features(one)[self._shot(number)] for one, number in zip(shown, own, strict=True)]
        truth = {
            name: torch.stack(values)
            for name, values in zip(("head", "ground", "camera"), zip(*map(self._true, shown), strict=True), strict=True)
        }
        if count and self.people is not None:
            rows = [self._person(number) for number in others]
            features += [self._peoples_features(row)[self._shot(number)] for row, number in zip(rows, others, strict=True)]
            styles = torch.full((count, self.space.size), math.nan) if self.known is None else self.known[rows]
            truth["head"] = torch.cat([truth["head"], styles])
            truth["camera"] = torch.cat([truth["camera"], self.people.camera[rows]])
            truth["person"] = torch.tensor(rows)
        truth["rotation"] = truth["camera"][:, :16].view(-1, 4, 4)[:, :3, :3].transpose(1, 2)
        truth["about"] = self._about(numbers, truth["rotation"])
        return torch.stack(features).float(), truth

    def _true(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the coordinates of the head and the ground of a drawn picture, and its camera."""
        if number not in self._truth:
            head = self._normal(number // self.settings.views, "head", self.space.size)
            ground = self._normal(number, "ground", self.space.ground_size)
            if number >= FRESH:
                return head, ground, self._camera(number)
            self._truth[number] = (head, ground, self._camera(number))
        return self._truth[number]

    def _shot(self, number: int) -> int:
        """Return which photograph of its picture a number shows."""
        return int(rng(self.seed, str(number), "shot").integers(self.settings.shots))

    def _person(self, number: int) -> int:
        """Return which of the people's pictures a number shows."""
        assert self.people is not None
        return int(rng(self.seed, str(number), "person").integers(len(self.people.ids)))

    def _own_features(self, number: int) -> Tensor:
        """Return the (shots, F) features of a drawn picture; all pictures of its head are made together, and kept in a pool."""
        if number in self._kept:
            return self._kept[number]
        together = self._together(number)
        pictures = [self._photographed(picture, one) for one, picture in zip(together, self.drawn(number), strict=True)]
        features = self._features(torch.cat(pictures)).split(self.settings.shots)
        found: dict[int, Tensor] = dict(zip(together, features, strict=True))
        if number < FRESH:
            self._kept.update(found)
        return found[number]

    def _peoples_features(self, row: int) -> Tensor:
        """Return the (shots, F) features of one of the people's pictures."""
        assert self.people is not None
        key = -1 - row
        if key not in self._kept:
            picture = torch.cat([self.people.image[row], self.people.mask[row]])
            self._kept[key] = self._features(self._photographed(picture, key))
        return self._kept[key]

    @torch.no_grad()
    def _features(self, pictures: Tensor) -> Tensor:
        """Return features in half precision, which is what is kept of thousands of pictures."""
        found: Tensor = self.backbone.features(pictures).half()
        return found

    def _together(self, number: int) -> range:
        """Return the numbers of all pictures of the head that a number shows."""
        first = number - number % self.settings.views
        return range(first, first + self.settings.views)

    @torch.no_grad()
    def drawn(self, number: int) -> Tensor:
        """Return the (views, 4, R, R) pictures and masks of the head that a number shows, as the generator makes them."""
        heads, grounds, cameras = zip(*(self._true(one) for one in self._together(number)), strict=True)
        ws, labels = self.space.styles(heads[0], torch.stack(grounds)), torch.stack(cameras)
        made = self.generator.synthesise(ws, labels, planes=shared_planes(self.generator, ws))
        assert made.mask is not None
        return torch.cat([made.image.float(), resize(made.mask.float(), made.image.shape[-1]).clamp(0, 1)], dim=1)

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

    def _photographed(self, picture: Tensor, number: int) -> Tensor:
        """Return (shots, 4, R, R) photographs of a picture: the first as it is, others of other light and with noise."""
        settings, shots = self.settings, [picture]
        for shot in range(1, settings.shots):
            draw = rng(self.seed, f"{number}/{shot}", "photograph")
            gain = 2.0 ** (settings.exposure * (draw.standard_normal() + draw.standard_normal(3) / 3.0))
            noise = draw.random() * settings.noise * draw.standard_normal((3, *picture.shape[1:]), dtype=np.float32)
            light = (picture[:3] + 1.0) * torch.from_numpy(gain).float()[:, None, None] - 1.0
            shots.append(torch.cat([light + torch.from_numpy(noise), picture[3:]]))
        found = torch.stack(shots)
        found[:, :3].clamp_(-1, 1)
        return found

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

    def losses(self, network: Callable[..., Any], pictures: Tensor, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted terms: errors of known styles, drawn grounds and every camera, and other people's pictures."""
        settings, drawn = self.settings, len(truth["ground"])
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
            terms["ground"] = settings.ground * (said.ground[:drawn] - truth["ground"]).square().mean()
        if not bool(known.all()):
            terms["picture"] = settings.picture * self._picture(said, truth, (~known).nonzero()[:, 0])
        return terms

    def _picture(self, said: Encoded, truth: dict[str, Tensor], rows: Tensor) -> Tensor:
        """Return the inversion's objective of what the generator makes of some people's answers at their true cameras."""
        assert self.people is not None
        targets = self.people.rows(truth["person"][rows - len(truth["ground"])].tolist())
        objective = Objective(targets, self.generator.settings.neural_resolution, False, None, PEOPLE)
        return total(objective(self.generator.synthesise(self.styles(said, rows), targets.camera)))

    def styles(self, said: Encoded, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return the (B, num_ws, w_dim) style vectors of answers."""
        layers = said.layers[rows] if self.shape.num_layers else None
        return self.space.several(said.head[rows], said.ground[rows], layers)

    @torch.no_grad()
    def sheet(self, network: nn.Module, numbers: list[int]) -> Pixels:
        """Draw pictures of no pool, and some people's, above what the generator makes of the answers at the true cameras."""
        features, truth = self.batch(numbers)
        said: Encoded = network(features, truth["about"])
        made = self.generator.synthesise(self.styles(said), truth["camera"])
        shown = [self.drawn(number)[number % self.settings.views, :3] for number in numbers[: len(truth["ground"])]]
        if self.people is not None and "person" in truth:
            shown += list(self.people.image[truth["person"]])
        rows = [to_pixels(torch.stack(shown)), to_pixels(made.image)]
        return np.vstack([np.hstack([fit(picture, 128) for picture in row]) for row in rows])
