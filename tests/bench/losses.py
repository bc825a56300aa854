"""What each loss term costs beside its player's adversarial term, and how well the labeller labels heads it has not seen.

Run it alone on the machine: python tests/bench/losses.py [--preset tiny-64] [--batch 16] [--repeats 5]
With --data DIR, a finished set with a train and a val split: also train the labeller alone as a run does, and test it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import CLASSES
from spherehead.datasets.loader import ShardStream, StreamSettings
from spherehead.model.discriminator import Critic
from spherehead.model.generator import Generator
from spherehead.model.losses.adversarial import CriticAdversarial, GeneratorAdversarial
from spherehead.model.losses.augment import AugmentSettings, augment
from spherehead.model.losses.density import DensitySmoothness
from spherehead.model.losses.labeller import Labeller, LabellerSettings
from spherehead.model.losses.parsing import LabellerFit, ParsingAgreement, class_shares, cross_entropy
from spherehead.model.losses.r1 import R1
from spherehead.model.losses.shift import CameraShift
from spherehead.model.losses.term import Habits, LossTerm, Moment, Player, Step
from spherehead.model.losses.vico import ViCo
from spherehead.model.portrait import Portrait, real_portrait
from spherehead.model.presets import ModelSettings, preset
from torch import Tensor


def data_like(model: ModelSettings, batch: int) -> tuple[Portrait, Tensor]:
    """Random pictures and class maps of a preset's sizes, seen from all round."""
    random, side = torch.Generator().manual_seed(0), model.critic.resolution
    camera = torch.stack([torch.from_numpy(Camera.look_at(6.28 * i / batch - 3.14, 0.1).label()) for i in range(batch)])
    classes = torch.randint(0, 19, (batch, side, side), generator=random)
    image = torch.rand(batch, 3, side, side, generator=random) * 2 - 1
    mask = (torch.rand(batch, 1, side, side, generator=random) > 0.5).float()
    return real_portrait(image, camera, model.generator.neural_resolution, mask, classes), classes


def cost(model: ModelSettings, batch: int, repeats: int) -> None:
    """Print the seconds of each term, forward and backward, on top of the adversarial term of its player."""
    torch.manual_seed(0)
    generator, critic = Generator(model.generator), Critic(model.critic)
    real, classes = data_like(model, batch)
    labeller = LabellerFit().open(20)
    moment = Moment(side=model.critic.resolution, neural_resolution=model.generator.neural_resolution)

    def update(player: Player, terms: list[LossTerm], change: Callable[..., Portrait] | None = None) -> float:
        generator.requires_grad_(player == "generator")
        critic.requires_grad_(player == "critic")
        step = Step(
            player, generator, critic, real, moment, Habits(), torch.Generator().manual_seed(1), parsing_map=classes,
            wants_real_gradient=any(isinstance(term, R1) for term in terms), networks={"labeller": labeller}, augment=change,
        )  # fmt: skip
        start = time.perf_counter()
        torch.stack([term(step) for term in terms]).sum().backward()
        for network in (generator, critic, labeller):
            network.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    def augmented(portrait: Portrait, random: torch.Generator) -> Portrait:
        return augment(portrait, AugmentSettings(), 0.6, random)

    game: dict[Player, LossTerm] = {"generator": GeneratorAdversarial(), "critic": CriticAdversarial()}
    cases: list[tuple[str, Player, list[LossTerm], Callable[..., Portrait] | None]] = [
        (term.__class__.__name__, term.player, [term], None)
        for term in (ViCo(), ViCo(source="both"), R1(), LabellerFit(), ParsingAgreement(), CameraShift(), DensitySmoothness())
    ]
    cases += [(f"augmentation at 0.6, {player}", player, [], augmented) for player in game]
    for player in game:
        update(player, [game[player]])
    for name, player, terms, change in cases:
        update(player, [game[player], *terms], change)
        plain, whole = [], []
        for _ in range(repeats):  # taking turns, so that neighbours slow both
            plain.append(update(player, [game[player]]))
            whole.append(update(player, [game[player], *terms], change))
        extra, base = statistics.median(whole) - statistics.median(plain), statistics.median(plain)
        every = terms[0].every if terms else 1
        print(
            f"{name:30} {player:10} {1e3 * extra:8.1f} ms of {1e3 * base:8.1f}; {100 * extra / base / every:5.1f} % an update"
        )


def teach(folder: str, batch: int, steps: int, side: int, resolution: int) -> None:
    """Train the labeller on a set's train split with a run's own Adam, and print how it does on the val split's people."""
    train = ShardStream([folder], StreamSettings(batch=batch, resolution=side, need_parsing=True, lanes=4))
    val = ShardStream([folder], StreamSettings(batch=batch, resolution=side, split="val", mirror="off", balance=False, lanes=1))
    torch.manual_seed(0)
    labeller = Labeller(20, LabellerSettings())
    adam = torch.optim.Adam(labeller.parameters(), lr=0.002, betas=(0.0, 0.99))
    for number in range(steps):
        if number in (100, 300, 1000, steps // 2):
            judge(labeller, val, number * batch, resolution)
        image, classes = _pair(train, number)
        logits = labeller(image, resolution)
        loss = cross_entropy(logits.log_softmax(1), class_shares(classes, 20, resolution))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
    judge(labeller, val, steps * batch, resolution)


@torch.no_grad()
def judge(labeller: Labeller, val: ShardStream, pictures: int, resolution: int) -> None:
    """Print accuracy, and intersection over union of each class, over one pass of the val split."""
    joint, told, true, entropy = torch.zeros(20), torch.zeros(20), torch.zeros(20), 0.0
    for number in range(val.epoch_batches):
        image, classes = _pair(val, number)
        shares = class_shares(classes, 20, resolution)
        logits = labeller(image, resolution)
        entropy += float(cross_entropy(logits.log_softmax(1), shares)) / val.epoch_batches
        guess, wanted = logits.argmax(1).flatten(), shares.argmax(1).flatten()
        told += torch.bincount(guess, minlength=20)
        true += torch.bincount(wanted, minlength=20)
        joint += torch.bincount(guess[guess == wanted], minlength=20)
    unions = {CLASSES[c]: float(joint[c] / (told + true - joint)[c]) for c in range(19) if true[c] > 0}
    print(f"{pictures:7} pictures: cross-entropy {entropy:.3f}, accuracy {float(joint.sum() / true.sum()):.3f}, ", end="")
    print(f"mean IoU {statistics.mean(unions.values()):.3f}: " + ", ".join(f"{name} {iou:.2f}" for name, iou in unions.items()))


def _pair(stream: ShardStream, number: int) -> tuple[Tensor, Tensor]:
    batch = stream[number]
    assert batch.parsing is not None
    return batch.image.permute(0, 3, 1, 2).float() / 127.5 - 1.0, batch.parsing


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="tiny-64")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data")
    parser.add_argument("--steps", type=int, default=2000)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = preset(given.preset)
    print(f"torch {torch.__version__}, {given.threads} threads, {given.preset}, batch {given.batch}")
    cost(model, given.batch, given.repeats)
    if given.data:
        teach(given.data, given.batch, given.steps, model.critic.resolution, model.generator.neural_resolution)


if __name__ == "__main__":
    main()
