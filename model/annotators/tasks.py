"""What the two networks are trained to do: drawing a batch, its loss, and a sheet of what the network says.

The loop around it is `training`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.arrays import Array, Pixels
from ...datasets.camera import FOCAL, RADIUS
from ...datasets.classes import CLASSES, INDEX, colourise
from ...manifests.identity import rng
from ..nets.efficientnet import MEAN, STD, load_imagenet
from .losses import focal_loss, head_losses
from .networks import FINDER_STRIDE, FinderNet, HeadNet
from .published import begun, settle
from .shown.augmentation import Crop, CropSettings, make_crop
from .shown.photo_scenes import Shots, photo_scene
from .shown.scenes import Scene, SceneSettings, make_scene
from .shown.views import Views

CLASS_WEIGHTS = {
    **dict.fromkeys(("left_brow", "right_brow", "left_eye", "right_eye", "upper_lip", "lower_lip", "mouth"), 4.0),
    "left_ear": 3.0, "right_ear": 3.0, "nose": 2.0, "glasses": 2.0,
}  # fmt: skip
"""Weights in the cross entropy of classes that cover few pixels; all others have 1."""

SETTLING = 64
"""Pictures that batch norms of a network read from a file are measured on."""
NetworkOfTask = TypeVar("NetworkOfTask", bound=nn.Module)


class Task(Protocol):
    """One network and what it learns."""

    name: str

    @property
    def seed(self) -> int:
        """Seed of everything drawn."""

    def network(self) -> nn.Module:
        """Return the network before training."""

    def batch(self, numbers: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return pictures and truth of samples by number; the same numbers give the same batch."""

    def losses(self, network: Callable[..., Any], pictures: Tensor, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted terms of the loss."""

    def sheet(self, network: nn.Module, numbers: list[int]) -> Pixels:
        """Draw what the network says beside the truth."""


def normalised(pictures: Array) -> Tensor:
    """Return (B, 3, H, W) float32 input of (B, H, W, 3) uint8 pictures."""
    return ((torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() - MEAN) / STD).contiguous(
        memory_format=torch.channels_last
    )


def settled(network: NetworkOfTask, task: Task, start: str) -> NetworkOfTask:
    """Return a network whose batch norms fit its task's pictures where it was read from an exported file, which has none."""
    if start.endswith(".onnx"):
        settle(network, task.batch(list(range(SETTLING)))[0])
    return network


@dataclass
class HeadTask:
    """Pose, points, classes and alpha of the head in a crop."""

    views: Views
    seed: int = 0
    crops: CropSettings = CropSettings()
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "rotation": 1.0, "rotation_spread": 0.02, "place": 0.7, "points": 2.0, "points_spread": 0.02,
            "classes": 0.5, "alpha": 0.5,
        }
    )  # fmt: skip
    start: str = ""
    """Run of this task, or an exported file, whose averaged weights are the first ones; empty for ImageNet weights."""
    name: str = "head"

    def network(self) -> nn.Module:
        """Return the network, started from an earlier run's average, else from ImageNet weights where they are installed."""
        torch.manual_seed(self.seed)
        network = HeadNet()
        if self.start:
            network.load_state_dict(begun(self.start, self.name)[1].state_dict())
            return settled(network, self, self.start)
        load_imagenet(network.encoder, network.head)
        return network

    def chosen(self, number: int) -> int:
        """Return the view of a crop by number; see `Views.in_passes`."""
        return self.views.in_passes(number, self.seed)

    def crop(self, number: int) -> Crop:
        """Make a training crop by number."""
        random = rng(self.seed, str(number), "crop")
        other = self.views.view(int(random.integers(len(self.views)))) if random.random() < self.crops.others else None
        return make_crop(random, self.views.view(self.chosen(number)), other, self.crops)

    def batch(self, numbers: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`."""
        crops = [self.crop(number) for number in numbers]
        truth = {
            "rotation": torch.from_numpy(np.stack([crop.rotation for crop in crops])).float(),
            "place": torch.from_numpy(np.stack([crop.place for crop in crops])).float(),
            "points": torch.from_numpy(np.stack([crop.points for crop in crops])).float(),
            "has_points": torch.tensor([float(crop.has_points) for crop in crops]),
            "classes": torch.from_numpy(np.stack([crop.classes for crop in crops])).long(),
            "alpha": torch.from_numpy(np.stack([crop.alpha for crop in crops])).float(),
        }
        return normalised(np.stack([crop.image for crop in crops])), truth

    def losses(self, network: Callable[..., Any], pictures: Tensor, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Task`."""
        weights = torch.ones(len(CLASSES))
        weights[[INDEX[name] for name in CLASS_WEIGHTS]] = torch.tensor(list(CLASS_WEIGHTS.values()))
        terms = head_losses(network(pictures), class_weights=weights, **truth)
        return {name: self.weights[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def sheet(self, network: nn.Module, numbers: list[int]) -> Pixels:
        """See `Task`: pictures with points and nose axis (green said, blue truth), classes said, classes of the truth."""
        crops = [self.crop(number) for number in numbers]
        said = network(normalised(np.stack([crop.image for crop in crops])))
        columns = []
        for index, crop in enumerate(crops):
            image = np.asarray(cv2.resize(crop.image, (256, 256)), dtype=np.uint8)
            for x, y in (128.0 * said.points[index].numpy() + 128.0).astype(int).tolist():
                cv2.circle(image, (x, y), 1, (255, 40, 40), -1)
            _axis(image, crop.rotation, crop.place, (60, 120, 255))
            _axis(image, said.rotation[index].numpy(), said.place[index].numpy(), (60, 255, 60))
            maps = [said.classes[index].argmax(0).numpy().astype(np.uint8), crop.classes]
            drawn = [cv2.resize(colourise(classes), (256, 256), interpolation=cv2.INTER_NEAREST) for classes in maps]
            columns.append(np.vstack([image, *drawn]))
        return np.hstack(columns)


def _axis(image: Pixels, rotation: Array, place: Array, colour: tuple[int, int, int]) -> None:
    """Draw where the nose points: 0.35 world units along the head's z axis."""
    half = image.shape[0] / 2.0
    start = half + half * place[:2]
    end = start + rotation[:2, 2] * 0.35 * FOCAL / RADIUS * np.exp(place[2]) * 2.0 * half
    cv2.line(image, tuple(start.astype(int).tolist()), tuple(end.astype(int).tolist()), colour, 2, cv2.LINE_AA)


@dataclass
class FinderTask:
    """Every head of a picture."""

    views: Views
    seed: int = 0
    scenes: SceneSettings = SceneSettings()
    size_weight: float = 0.15
    shots: Shots | None = None
    """Rendered photographs that a share of the pictures is cut out of; none where None."""
    share: float = 0.5
    """That share."""
    encoder: str = ""
    """Run or exported file of the head task, whose encoder the finder starts from, or of a finder, which continues; empty:
    ImageNet's weights."""
    name: str = "finder"

    def network(self) -> nn.Module:
        """Return the network, started from a head network's encoder, else from ImageNet weights where they are installed."""
        torch.manual_seed(self.seed)
        network = FinderNet()
        if self.encoder:
            task, other = begun(self.encoder, "head", self.name)
            known, wanted = other.state_dict(), network.state_dict()
            # networks of both tasks have layers called maps, which are not alike
            taken = {name for name in wanted if task == self.name or name.startswith("encoder.")}
            network.load_state_dict({name: known[name] if name in taken else wanted[name] for name in wanted})
            return settled(network, self, self.encoder)
        load_imagenet(network.encoder)
        return network

    def scene(self, number: int) -> Scene:
        """Make a picture by number."""
        random = rng(self.seed, str(number), "scene")
        if self.shots is not None and rng(self.seed, str(number), "kind").random() < self.share:
            return photo_scene(random, self.shots, self.scenes)
        return make_scene(random, self.views, self.scenes)

    def batch(self, numbers: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`."""
        scenes = [self.scene(number) for number in numbers]
        truth = {
            "heat": torch.from_numpy(np.stack([scene.heat for scene in scenes])),
            "boxes": torch.from_numpy(np.stack([scene.boxes for scene in scenes])),
        }
        return normalised(np.stack([scene.image for scene in scenes])), truth

    def losses(self, network: Callable[..., Any], pictures: Tensor, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Task`."""
        maps = network(pictures)
        heat = truth["heat"]
        centre = heat.eq(1.0)[:, None].float()
        error = ((maps[:, 1:] - truth["boxes"]).abs() * centre).sum() / centre.sum().clamp(min=1.0)
        return {"heat": focal_loss(maps[:, 0], heat), "boxes": self.size_weight * error}

    @torch.no_grad()
    def sheet(self, network: nn.Module, numbers: list[int]) -> Pixels:
        """See `Task`: pictures with boxes at the heat map's peaks over 0.3, and the heat map."""
        scenes = [self.scene(number) for number in numbers]
        said = network(normalised(np.stack([scene.image for scene in scenes])))
        columns = []
        for index, scene in enumerate(scenes):
            image, heat = scene.image.copy(), said[index, 0].sigmoid().numpy()
            peaks = (heat == cv2.dilate(heat, np.ones((3, 3)))) & (heat > 0.3)
            for row, column in np.argwhere(peaks).tolist():
                dx, dy, width, height = said[index, 1:, row, column].numpy().tolist()
                x, y = FINDER_STRIDE * (column + 0.5 + dx), FINDER_STRIDE * (row + 0.5 + dy)
                half = FINDER_STRIDE / 2.0 * np.exp([width, height])
                corners = np.array([x, y]) + np.array([-half, half])
                cv2.rectangle(
                    image, tuple(corners[0].astype(int).tolist()), tuple(corners[1].astype(int).tolist()), (60, 255, 60), 1
                )
            drawn = cv2.resize((255 * heat).astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            columns.append(np.vstack([image, np.repeat(drawn[..., None], 3, axis=2)]))
        return np.hstack(columns)
