"""What the parser learns, classes, coverage and beard of the head in a canonical crop, and how well it does on held-out views.

Crops come from `augmentation`, the loop around it is `training`; refining maps along a photograph's edges is left to
`pipeline.annotators.heads`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...datasets.arrays import Array, Pixels
from ...datasets.classes import CLASSES, INDEX, colourise
from ...manifests.identity import rng
from ..nets.efficientnet import load_imagenet
from .evaluation import BANDS, ious, shared, yaw_degrees
from .losses import beard_loss, class_loss
from .networks import PARSER_CROP, HeadNet, ParserNet
from .published import begun
from .shown.augmentation import Crop, CropSettings, make_crop
from .shown.views import Views
from .tasks import normalised, settled
from .training import TrainingSettings

CLASS_WEIGHTS = {
    **dict.fromkeys(("left_brow", "right_brow", "left_eye", "right_eye", "upper_lip", "lower_lip", "mouth"), 2.0),
    "left_ear": 1.5, "right_ear": 1.5, "glasses": 1.5,
}  # fmt: skip
"""Weights in the cross entropy; all others have 1. Small classes are also held up by the Dice term."""
BEARD_COLOUR = (255, 128, 0)
"""Of beards on sheets."""
ALIGNED = CropSettings(
    roll_degrees=6.0, free_roll=0.01, least_scale=0.85, most_scale=1.12, shift=0.03, others=0.2, occluders=0.12,
    size=PARSER_CROP, grey=0.2, dark=0.15, alike=0.35, shadows=0.5, glints=0.7, stubble=False,
)  # fmt: skip
"""Crops about as `align` makes them, with the errors that it makes."""


@dataclass
class ParserTask:
    """Classes and coverage of the head in a canonical crop, and which of its hair is beard."""

    views: Views
    seed: int = 0
    crops: CropSettings = ALIGNED
    weights: dict[str, float] = field(default_factory=lambda: {"classes": 1.0, "alpha": 0.5, "alpha_error": 1.0, "beard": 0.3})
    start: str = ""
    """Run of the head or the parser task, or an exported file, whose averaged weights are the first ones; empty: ImageNet's."""
    small: int = 0
    """Number of the first pictures that are shown at `small_size`, where a picture costs less."""
    small_size: int = 160
    name: str = "parser"

    def network(self) -> nn.Module:
        """Return the network, started from an earlier run's average, else from ImageNet weights where they are installed."""
        torch.manual_seed(self.seed)
        network = ParserNet()
        if not self.start:
            load_imagenet(network.encoder)
            return network
        _, other = begun(self.start, "head", self.name)
        if isinstance(other, HeadNet):
            network.start_from(other)
        else:
            network.load_state_dict(other.state_dict())
        return settled(network, self, self.start)

    def chosen(self, number: int) -> int:
        """Return the view of a crop by number; see `Views.in_passes`."""
        return self.views.in_passes(number, self.seed)

    def crop(self, number: int) -> Crop:
        """Make a training crop by number."""
        random = rng(self.seed, str(number), "parser-crop")
        other = self.views.view(int(random.integers(len(self.views)))) if random.random() < self.crops.others else None
        crops = replace(self.crops, size=self.small_size) if number < self.small else self.crops
        return make_crop(random, self.views.view(self.chosen(number)), other, crops)

    def batch(self, numbers: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return pictures and truth of samples by number; numbers on both sides of `small` cannot share a batch."""
        small = [number < self.small for number in numbers]
        if any(small) and not all(small):
            numbers = [max(number, self.small) for number in numbers]
        crops = [self.crop(number) for number in numbers]
        truth = {
            "rotation": torch.from_numpy(np.stack([crop.rotation for crop in crops])).float(),
            "classes": torch.from_numpy(np.stack([crop.classes for crop in crops])).long(),
            "alpha": torch.from_numpy(np.stack([crop.alpha for crop in crops])).float(),
            "beard": torch.from_numpy(np.stack([crop.beard for crop in crops])).float(),
        }
        return normalised(np.stack([crop.image for crop in crops])), truth

    def losses(self, network: Callable[..., Any], pictures: Tensor, truth: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted terms: cross entropy and Dice of classes, cross entropy and absolute error of coverage, and cross
        entropy of beard where the truth has hair and tells its kind.
        """
        weights = torch.ones(len(CLASSES))
        weights[[INDEX[name] for name in CLASS_WEIGHTS]] = torch.tensor(list(CLASS_WEIGHTS.values()))
        logits, cover, beard = network(pictures)
        terms = {
            "classes": class_loss(logits, truth["classes"], weights),
            "alpha": F.binary_cross_entropy_with_logits(cover, truth["alpha"]),
            "alpha_error": (cover.sigmoid() - truth["alpha"]).abs().mean(),
            "beard": beard_loss(beard, truth["beard"]),
        }
        return {name: self.weights[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def sheet(self, network: nn.Module, numbers: list[int]) -> Pixels:
        """Draw pictures, classes said, classes of the truth, coverage said; in both class maps beard is `BEARD_COLOUR`."""
        crops = [self.crop(number) for number in numbers]
        logits, cover, beard = network(normalised(np.stack([crop.image for crop in crops])))
        columns = []
        for index, crop in enumerate(crops):
            said = logits[index].argmax(0).numpy().astype(np.uint8)
            bearded = (said == INDEX["hair"]) & (beard[index] > 0.0).numpy()
            drawn = []
            for classes, where in ((said, bearded), (crop.classes, crop.beard == 1)):
                coloured = np.where(where[..., None], np.array(BEARD_COLOUR, dtype=np.uint8), colourise(classes))
                drawn.append(cv2.resize(coloured, (256, 256), interpolation=cv2.INTER_NEAREST))
            soft = np.asarray(255.0 * cover[index].sigmoid().numpy(), dtype=np.uint8)
            grey = np.repeat(cv2.resize(soft, (256, 256))[..., None], 3, axis=2)
            columns.append(np.vstack([cv2.resize(crop.image, (256, 256)), *drawn, grey]))
        return np.hstack(columns)


def small_pictures(images: int) -> int:
    """Return how many of a run's pictures are shown small first: about six in ten, whole batches."""
    batch = TrainingSettings.batch
    return int(0.615 * images) // batch * batch


def parser_settings(settings: TrainingSettings) -> TrainingSettings:
    """Return settings of a training as a parser needs them: small batches, a long fall of the learning rate."""
    images = settings.images
    return replace(
        settings, batch=16, warmup=min(800, images // 4), decay=0.5, ema=0.997, save=2_000, settle=min(12, 1 + images // 1_000)
    )


@torch.no_grad()
def evaluate_parser(network: nn.Module, task: ParserTask, count: int, batch: int = 16) -> dict[str, Any]:
    """Return numbers over `count` crops of a task's views.

    Args:
        network: a `ParserNet`; it is put into evaluation mode.
        task: on held-out views; its crops' settings decide how hard they are.
        count: crops.
        batch: crops at once.

    Returns:
        Over "all" and by band of yaw "num", "iou" by class, "mean_iou" over the classes there, and where the views tell of
        beards what `beard_numbers` returns; and "alpha_soft_error", the mean absolute error of coverage where its truth is
        between 0.05 and 0.95.
    """
    network.eval()
    counts = {name: np.zeros((2, len(CLASSES))) for name in ("all", *(band for band, _, _ in BANDS))}
    beards = {name: np.zeros(5, dtype=np.int64) for name in counts}
    nums, soft = dict.fromkeys(counts, 0), list[float]()
    for start in range(0, count, batch):
        pictures, truth = task.batch(list(range(start, min(start + batch, count))))
        logits, cover, beard = network(pictures)
        classes, wanted = logits.argmax(1).numpy(), truth["classes"].numpy()
        hair, likely = classes == INDEX["hair"], (beard > 0.0).numpy()
        for index, yaw in enumerate(np.abs(yaw_degrees(truth["rotation"].numpy()))):
            overlap, union = shared(classes[index], wanted[index])
            for name in ("all", next(name for name, low, high in BANDS if low <= yaw < high)):
                counts[name] += np.stack([overlap, union])
                beards[name] += count_beard(hair[index], likely[index], truth["beard"][index].numpy())
                nums[name] += 1
        edge = (truth["alpha"] > 0.05) & (truth["alpha"] < 0.95)
        soft.append(float((cover.sigmoid() - truth["alpha"]).abs()[edge].mean()))
    return {
        **{name: {"num": nums[name], **ious(*counts[name]), **beard_numbers(beards[name])} for name in counts if nums[name]},
        "alpha_soft_error": round(float(np.mean(soft)), 3),
    }


def count_beard(hair: Array, likely: Array, wanted: Array) -> Array:
    """Return (5,) numbers of pixels of a crop, hair that is likely beard counting as called beard.

    Args:
        hair: (H, W) bool, where the network says hair.
        likely: (H, W) bool, where it says that hair there is beard.
        wanted: (H, W) truth as `Crop.beard` has it; a crop without any hair of a known kind counts nowhere.

    Returns:
        Beard called beard; beard or called so; beard called hair; other hair called beard; other hair.
    """
    if not (wanted >= 0).any():
        return np.zeros(5, dtype=np.int64)
    said, beard, other = hair & likely, wanted == 1, wanted == 0
    parts = (said & beard, said | beard, hair & beard, said & other, other)
    return np.array([part.sum() for part in parts], dtype=np.int64)


def beard_numbers(counts: Array) -> dict[str, float]:
    """Return shares from sums of `count_beard`: "beard_iou", the intersection over union of beard; "beard_found", how much of
    the beard that is called hair is called beard; "hair_called_beard", how much of other hair is.
    """
    right, either, seen, wrong, other = counts.tolist()
    shares = {"beard_iou": (right, either), "beard_found": (right, seen), "hair_called_beard": (wrong, other)}
    return {name: round(part / whole, 4) for name, (part, whole) in shares.items() if whole}


def calm_parser(task: ParserTask) -> ParserTask:
    """Return a task whose crops are as the pipeline makes them: upright, near the canonical place, nothing in front."""
    crops = replace(
        task.crops, roll_degrees=4.0, free_roll=0.0, least_scale=0.95, most_scale=1.05, shift=0.02, occluders=0.0,
        grey=0.12, dark=0.0, alike=0.0, shadows=0.0, glints=0.0, stubble=True,
    )  # fmt: skip
    return ParserTask(task.views, task.seed, crops, task.weights)
