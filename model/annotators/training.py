"""The training loop of annotator networks: seeded, resumable, with a running average of the weights and sheets of predictions.

What is learned is a task of `tasks`; the finished average is written by `export`.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import torch
from torch import Tensor, nn

from ...manifests.config import ConfigError, to_plain
from ...manifests.store import write_json
from ..nets.layers import DTYPES, Precision
from .checkpoint import SETTINGS, Progress, read_settings, resume, save
from .tasks import Task

log = logging.getLogger(__name__)
LINE_STEPS = 32
"""Steps between two lines of metrics."""
MAY_CHANGE = ("images", "save", "max_seconds", "threads", "tensorboard")
"""Settings that a run may be resumed with others of; with more pictures the learning rate falls later."""
SHEET_NUMBERS = 1 << 40
"""Number of the first sample on sheets, which no training reaches."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained."""

    images: int = 60_000
    """Pictures to be shown in all."""
    batch: int = 32
    lr: float = 1e-3
    """Learning rate of AdamW until `decay`."""
    warmup: int = 3_000
    """Pictures over which the learning rate rises from 0."""
    decay: float = 0.4
    """Last share of the training over which the learning rate falls to 0 along a cosine."""
    weight_decay: float = 0.02
    ema: float = 0.998
    """Share of the average that stays at each step, once there have been enough steps for it."""
    save: int = 4_000
    """A checkpoint and a sheet after every this number of pictures."""
    settle: int = 12
    """Batches of 32 on which the average's batch norms are measured at the end."""
    norms: Literal["measured", "kept"] = "measured"
    """Batch norms by the statistics of the batches, measured anew for the average; or by those that the first weights have."""
    max_seconds: float = 0.0
    """Seconds of this call after which it saves and stops; 0 for no limit."""
    threads: int = 1
    """Threads; where there are several, as many draw the batches that come next, and half as many compute the network."""
    precision: Precision = "fp32"
    """Precision of the network's convolutions, all but those of single channels: bf16 is faster on processors with AMX."""
    tensorboard: bool = True
    """Also write metrics and sheets for TensorBoard, where its package is installed."""

    def rate(self, images: int) -> float:
        """Return the learning rate after a number of pictures."""
        begin = (1.0 - self.decay) * self.images
        falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, (images - begin) / max(self.decay * self.images, 1.0))))
        return self.lr * min(1.0, (images + self.batch) / max(self.warmup, 1)) * falling


def start(task: Task, settings: TrainingSettings) -> Progress:
    """Return the state before the first step; norms' and biases' numbers do not decay."""
    network: nn.Module = task.network().train()
    if settings.norms == "kept":
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    return Progress(network, average, torch.optim.AdamW(groups, lr=settings.lr))


class Batches:
    """Batches in their order, drawn ahead of time by threads of their own where the settings name several.

    What a batch holds is decided by its numbers alone, so that who draws it, and when, changes nothing.
    """

    def __init__(self, task: Task, settings: TrainingSettings, first: int) -> None:
        """Begin with the batch of which `first` is the first picture."""
        self._task, self._settings, self._next = task, settings, first
        self._ahead = settings.threads if settings.threads > 1 else 0
        self._pool = ThreadPoolExecutor(self._ahead) if self._ahead else None
        self._drawn: deque[Future[tuple[Tensor, dict[str, Tensor]]]] = deque()

    def take(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the next batch."""
        if self._pool is None:
            return self._task.batch(self._numbers())
        while len(self._drawn) <= self._ahead and self._next < self._settings.images:
            self._drawn.append(self._pool.submit(self._task.batch, self._numbers()))
        return self._drawn.popleft().result()

    def close(self) -> None:
        """Stop drawing."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _numbers(self) -> list[int]:
        first, self._next = self._next, self._next + self._settings.batch
        return list(range(first, self._next))


def train(task: Task, settings: TrainingSettings, out: Path) -> Progress:
    """Train, or resume what the folder holds, until `settings.images` pictures have been shown or the time is over.

    Raises:
        ConfigError: the folder holds a run of another task or seed, or of settings that may not change in a run.
    """
    torch.set_num_threads(max(1, settings.threads // 2))
    out.mkdir(parents=True, exist_ok=True)
    progress = start(task, settings)
    resume(out, task.name, progress)
    told = {**to_plain(settings), "seed": task.seed}
    if progress.images:
        _refuse_changes(out, told)
    write_json(out / SETTINGS, {"task": task.name, "settings": told})
    board = _open_board(out / "tensorboard", progress.images) if settings.tensorboard else None
    begun, sums, count, seconds = time.monotonic(), dict[str, float](), 0, time.monotonic()
    batches = Batches(task, settings, progress.images)
    while progress.images < settings.images:
        for name, value in step(task, settings, progress, *batches.take()).items():
            sums[name] = sums.get(name, 0.0) + value
        count += 1
        over = bool(settings.max_seconds) and time.monotonic() - begun > settings.max_seconds
        done = over or progress.images >= settings.images
        if done or count >= LINE_STEPS:
            line = {"images": progress.images, **{name: round(value / count, 5) for name, value in sums.items()}}
            line["lr"] = round(settings.rate(progress.images), 8)
            line["per_second"] = round(count * settings.batch / (time.monotonic() - seconds), 2)
            if board is not None:
                for name, value in line.items():
                    board.add_scalar(name, value, progress.images)
            with (out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            log.info("%s", line)
            sums, count, seconds = {}, 0, time.monotonic()
        if done and settings.norms == "measured":
            settle_norms(progress.average, task, SHEET_NUMBERS // 2, settings.settle)
        if done or progress.images // settings.save > (progress.images - settings.batch) // settings.save:
            save(out, task.name, progress)
            sheet = task.sheet(progress.average, list(range(SHEET_NUMBERS, SHEET_NUMBERS + 10)))
            cv2.imwrite(str(out / f"sheet-{progress.images:08d}.png"), sheet[..., ::-1])
            if board is not None:
                board.add_image("sheet", sheet, progress.images, dataformats="HWC")
                board.flush()
        if over:
            break
    batches.close()
    if board is not None:
        board.close()
    return progress


def _refuse_changes(run: Path, now: dict[str, Any]) -> None:
    """Refuse to resume with other settings than a run has: what came of it would be of neither.

    Raises:
        ConfigError: with the first setting that differs, or what the run tells is damaged.
    """
    before = read_settings(run)
    for name, value in now.items():
        if name not in MAY_CHANGE and before.get(name, value) != value:
            begun = f"{name} {before[name]}, with which {run} began"
            raise ConfigError(f"expected {begun}, got {value}; repeat it or choose another folder")


def _open_board(folder: Path, images: int) -> Any:
    """Return TensorBoard's writer, which forgets what lies beyond the checkpoint; None where its package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=images + 1 if images else None)


@torch.no_grad()
def settle_norms(network: nn.Module, task: Task, first: int, batches: int = 12, batch: int = 32) -> None:
    """Measure the batch norms' statistics anew for averaged weights (Izmailov et al. 2018, sec. 3.2).

    Args:
        network: changed in place; it is left in evaluation mode.
        task: draws the pictures.
        first: number of the first sample.
        batches: batches over which the statistics are averaged.
        batch: pictures per batch.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        network.eval()
        return
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
    network.train()
    for number in range(batches):
        pictures, _ = task.batch(list(range(first + number * batch, first + (number + 1) * batch)))
        network(pictures)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    network.eval()


def in_precision(network: nn.Module, precision: Precision) -> Callable[..., Any]:
    """Return a function from a network's inputs, pictures first, to its answer, computed in a precision."""

    def answer(pictures: Tensor, *more: Tensor) -> Any:
        with torch.autocast(pictures.device.type, DTYPES[precision], enabled=precision != "fp32"):
            return network(pictures, *more)

    return answer


def step(
    task: Task, settings: TrainingSettings, progress: Progress, pictures: Tensor, truth: dict[str, Tensor]
) -> dict[str, float]:
    """Take one step on a batch and move the average; return the terms of the loss."""
    for group in progress.optimiser.param_groups:
        group["lr"] = settings.rate(progress.images)
    torch.manual_seed(progress.images)  # dropout
    terms = task.losses(in_precision(progress.network, settings.precision), pictures, truth)
    loss: Tensor = torch.stack(list(terms.values())).sum()
    progress.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(progress.network.parameters(), 5.0)
    if torch.isfinite(norm):
        progress.optimiser.step()
    progress.images += settings.batch
    steps = progress.images / settings.batch
    keep = min(settings.ema, (1.0 + steps) / (10.0 + steps))
    with torch.no_grad():
        for held, moved in zip(progress.average.parameters(), progress.network.parameters(), strict=True):
            held.lerp_(moved, 1.0 - keep)
        for average, new in zip(progress.average.buffers(), progress.network.buffers(), strict=True):
            if average.is_floating_point():
                average.lerp_(new, 1.0 - keep)
            else:
                average.copy_(new)
    return {name: float(term.detach()) for name, term in terms.items()}
