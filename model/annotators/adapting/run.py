"""Fits a head network to photographs, and says by exact truth in their look and by their own steadiness whether it helped.

Finding and cutting the heads is the pipeline's affair; the file is read by `pipeline.annotators.heads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ....datasets.camera import geodesic
from ....manifests.config import ConfigError, fingerprint, to_plain
from ....manifests.identity import rng
from ....manifests.store import file_sha256
from ..checkpoint import CHECKPOINT
from ..evaluation import calm, evaluate_head
from ..export import export
from ..published import averaged, begun
from ..shown.views import Views
from ..tasks import HeadTask
from ..training import TrainingSettings, train
from .look import Look, measured
from .loose_heads import LooseHead, crop_of, view_of
from .task import AdaptTask, InLook
from .teacher import LOOKS, agreed, label_of

LEAST_HEADS = 24
"""Heads under which there is too little to learn from."""
LEAST_CROPS = 32
"""Crops of one step, which a round takes at least."""
SAMPLE = 256
"""Crops at most that spectra are measured on."""
WORST = 60.0
"""Degrees from which a rotation is as wrong as any."""


@dataclass(frozen=True)
class Adapting:
    """How a network is fitted to photographs."""

    images: int = 4_000
    """Crops shown in all, half of them of photographs."""
    rounds: int = 1
    """Times that photographs are labelled: first by the network as it came, then by what the round before learned, the running
    mean of its weights. Each round shows its share of the crops. A second one gained nothing where it was measured."""
    seed: int = 7
    """Seed of everything drawn."""
    rate: float = 3e-5
    """Learning rate until it falls."""
    kept: float = 0.75
    """Share of the heads that are learned from: those on which the looks agree best."""
    taught: float = 1.0
    """Weight of what photographs teach beside rendered truth."""
    held_out: float = 0.2
    """Share of the heads that are only judged on."""
    judged: int = 600
    """Rendered crops of held-out people that are judged on."""
    threads: int = 1
    """Threads of the process."""

    def __post_init__(self) -> None:
        """Refuse rounds that show nothing.

        Raises:
            ConfigError: there are fewer crops than `LEAST_CROPS` for each round.
        """
        if self.rounds < 1 or self.images < LEAST_CROPS * self.rounds:
            each = f"{LEAST_CROPS} images or more for each of 1 or more rounds"
            raise ConfigError(f"expected {each}, got {self.images} images in {self.rounds} rounds")


@dataclass(frozen=True)
class Judged:
    """A network before or after, without the photographs' truth."""

    in_look: dict[str, Any]
    """Errors on rendered crops of held-out people in the photographs' look, as `evaluate_head` tells them."""
    plain: dict[str, Any]
    """The same as they are rendered."""
    steadiness: float
    """Median over held-out heads of the angle in degrees between single looks and their mean."""
    angles: tuple[float, ...]
    """Rotation errors in degrees of the crops in the photographs' look, in their order, `WORST` at most."""
    off_mesh: float
    """Median angle in degrees between the mean look and MediaPipe's mesh, of held-out heads where a face was seen."""


def run_of(heads: Sequence[LooseHead], views: Views, settings: Adapting, start: str, out: Path) -> Path:
    """Return the folder in `out` of the run of these heads, views, settings and first weights: others have another one."""
    path = Path(start) if start.endswith(".onnx") else Path(start) / CHECKPOINT
    first = file_sha256(path) if path.is_file() else start
    deciding = {**to_plain(settings), "threads": 1}
    return out / f"run-{fingerprint([[head.key for head in heads], views.keys, deciding, first])[:12]}"


def adapt(heads: Sequence[LooseHead], views: Views, settings: Adapting, start: str, out: Path) -> tuple[Judged, Judged]:
    """Fit the head network and judge it before and after; rerun to resume.

    Args:
        heads: cut out of the photographs.
        views: rendered views with exact truth; a tenth of them, the last ones, are only judged on.
        settings: how.
        start: run or exported file that is fitted.
        out: folder of the run, see `run_of`.

    Raises:
        ConfigError: there are too few heads, none whose mesh and looks agree, or rendered views of one person only.
    """
    if len(heads) < LEAST_HEADS:
        raise ConfigError(f"expected {LEAST_HEADS} heads or more to learn from, got {len(heads)}; give more photographs")
    shown, others = views.parted(0.9)
    torch.set_num_threads(settings.threads)
    network = begun(start, "head")[1].eval()
    order = rng(settings.seed, "heads", "held out").permutation(len(heads))
    count = max(4, round(settings.held_out * len(heads)))
    unseen, learned = [heads[i] for i in sorted(order[:count])], [heads[i] for i in sorted(order[count:])]
    look = learn(learned, shown, settings, start, out)
    before = judge(network, unseen, others, look, settings)
    return before, judge(averaged(fitted(out, settings))[1], unseen, others, look, settings)


def learn(heads: Sequence[LooseHead], views: Views, settings: Adapting, start: str, out: Path) -> Look:
    """Fit the network in rounds, each with the labels of what the round before left, and return the photographs' look.

    Raises:
        ConfigError: every face mesh contradicts the network.
    """
    plan = TrainingSettings(
        settings.images // settings.rounds, lr=settings.rate, warmup=400, save=1_000, threads=settings.threads, norms="kept"
    )
    look: Look | None = None
    for number in range(1, settings.rounds + 1):
        teacher = begun(start, "head")[1].eval()
        labels = [label_of(teacher, head) for head in heads]
        chosen = agreed(labels, settings.kept)
        if not chosen:
            raise ConfigError(
                f"expected heads to learn from whose face meshes see the side that the network sees, got none of {len(heads)}; "
                "give other photographs"
            )
        sure, told = [heads[i] for i in chosen], [labels[i] for i in chosen]
        look = look or look_of(sure, HeadTask(views, settings.seed), settings.seed)
        seed = settings.seed + 1_000 * (number - 1)
        train(AdaptTask(InLook(views, seed, start=start, look=look), sure, told, settings.taught), plan, _round(out, number))
        start = str(_round(out, number))
    assert look is not None
    return look


def fitted(out: Path, settings: Adapting) -> Path:
    """Return the folder of the last round of a run."""
    return _round(out, settings.rounds)


def _round(out: Path, number: int) -> Path:
    return out / f"round-{number}"


def look_of(heads: Sequence[LooseHead], rendered: HeadTask, seed: int) -> Look:
    """Measure the look of heads beside rendered crops framed alike."""
    random = rng(seed, "look", "measured")
    some = random.permutation(len(heads))[:SAMPLE]
    photographs = [crop_of(view_of(heads[i].image, heads[i].read), LOOKS[0]) for i in some]
    calmed = calm(rendered)
    return measured(photographs, [calmed.crop(number).image for number in range(len(photographs))], random)


def judge(network: nn.Module, heads: Sequence[LooseHead], views: Views, look: Look, settings: Adapting) -> Judged:
    """Judge a network on held-out rendered people in the photographs' look and as they are, and on held-out photographs."""
    network.eval()
    crops = calm(HeadTask(views, settings.seed)).crops
    in_look = InLook(views, settings.seed + 1, crops, look=look, share=1.0)
    labels = [label_of(network, replace(head, mesh=None)) for head in heads]
    apart = [
        geodesic(label.placed.rotation, head.mesh.rotation)
        for label, head in zip(labels, heads, strict=True)
        if head.mesh is not None
    ]
    plain, angles = replace(in_look, look=None), list[float]()
    return Judged(
        evaluate_head(network, in_look, settings.judged, angles=angles), evaluate_head(network, plain, settings.judged),
        round(float(np.degrees(np.median([label.spread for label in labels]))), 2),
        tuple(min(angle, WORST) for angle in angles),
        round(float(np.degrees(np.median(apart))), 2) if apart else float("nan"),
    )  # fmt: skip


def gained(before: Judged, after: Judged) -> tuple[float, float]:
    """Return by how many degrees the mean error in the photographs' look fell, crop by crop, and the standard error of that."""
    fell = np.array(before.angles) - np.array(after.angles)
    return float(fell.mean()), float(fell.std() / np.sqrt(len(fell)))


def helps(before: Judged, after: Judged) -> bool:
    """Tell whether the fitted network is the better one for such photographs.

    Its errors in their look must be smaller by more than chance (two standard errors), and its looks at the photographs must
    not differ more.
    """
    fell, error = gained(before, after)
    return fell > 2.0 * error and after.steadiness <= 1.05 * before.steadiness


def write(run: Path, out: Path, judged: Judged, settings: Adapting, told: dict[str, Any]) -> Path:
    """Write `head.onnx` and its card into a folder that `stages.networks` takes; return the file."""
    card = {
        "data": told, "settings": to_plain(settings), "command": "annotators adapt",
        "spread_factor": judged.in_look["spread_factor"], "held_out": {"in_look": judged.in_look, "plain": judged.plain},
        "steadiness_degrees": judged.steadiness,
    }  # fmt: skip
    return export(run, out, card)
