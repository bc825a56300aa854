"""What each loss term adds to an update, and how well the labeller labels heads it has not seen.

Run it alone on the machine: python tests/bench/losses.py [--preset tiny-64] [--batch 16] [--repeats 5]
With --data DIR, a finished set with a train and a val split: also train the labeller alone as a run does, and test it.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import CLASSES
from spherehead.datasets.streaming.loader import ShardStream, StreamSettings
from spherehead.model.discriminator import Discriminator
from spherehead.model.generator import Generator
from spherehead.model.losses.adversarial import DiscriminatorAdversarial, GeneratorAdversarial
from spherehead.model.losses.augment import AugmentSettings, augment
from spherehead.model.losses.density import DensitySmoothness
from spherehead.model.losses.feature_matching import flat, picture_errors
from spherehead.model.losses.labeller import Labeller, LabellerSettings
from spherehead.model.losses.parsing import LabellerFit, ParsingAgreement, class_shares, cross_entropy
from spherehead.model.losses.r1 import R1
from spherehead.model.losses.step import Player, SamplingConfig, ScheduleState, Step
from spherehead.model.losses.vico import ViCo
from spherehead.model.portrait import Portrait, real_portrait
from spherehead.model.pose_discriminator import make_discriminator
from spherehead.model.presets import ModelSettings, preset
from spherehead.model.projected_discriminator import FrozenSettings
from torch import Tensor


def data_like(model: ModelSettings, batch: int) -> tuple[Portrait, Tensor]:
    """Random pictures and class maps of a preset's sizes, seen from all round."""
    random, side = torch.Generator().manual_seed(0), model.discriminator.resolution
    camera = torch.stack([torch.from_numpy(Camera.look_at(6.28 * i / batch - 3.14, 0.1).label()) for i in range(batch)])
    classes = torch.randint(0, 19, (batch, side, side), generator=random)
    image = torch.rand(batch, 3, side, side, generator=random) * 2 - 1
    mask = (torch.rand(batch, 1, side, side, generator=random) > 0.5).float()
    return real_portrait(image, camera, model.generator.neural_resolution, mask, classes), classes


def cost(model: ModelSettings, batch: int, repeats: int) -> None:
    """Print the processor time that each term adds to an update, whose pictures, features and scores are there already."""
    torch.manual_seed(0)
    generator, discriminator, labeller = Generator(model.generator), Discriminator(model.discriminator), LabellerFit().open(20)
    real, classes = data_like(model, batch)
    schedule = ScheduleState(
        image_resolution=model.discriminator.resolution, neural_resolution=model.generator.neural_resolution
    )

    def step(player: Player, slope: bool = False) -> Step:
        generator.requires_grad_(player == "generator")
        discriminator.requires_grad_(player == "discriminator")
        return Step(
            player, generator, discriminator, real, schedule, SamplingConfig(),
            torch.Generator().manual_seed(1), parsing_map=classes,
            wants_real_gradient=slope, networks={"labeller": labeller},
        )  # fmt: skip

    def told(name: str, work: Callable[[], object], every: int = 1) -> None:
        work()
        times = []
        for _ in range(repeats):
            start = time.process_time()
            work()
            times.append(1e3 * (time.process_time() - start))
        print(f"{name:42} {statistics.median(times):8.1f} ms ({min(times):.1f} to {max(times):.1f}), every {every}", flush=True)

    told("for scale: the generator's update", lambda: GeneratorAdversarial()(step("generator")).backward())
    told("for scale: the discriminator's update", lambda: DiscriminatorAdversarial()(step("discriminator")).backward())
    judged = step("discriminator", slope=True)
    judged.real_score.sum()
    told("R1", lambda: R1()(judged).backward(retain_graph=True), R1().every)
    judged.__dict__["real_features"] = judged.real_features.detach().requires_grad_(True)
    told("ViCo", lambda: ViCo()(judged).backward())
    told("LabellerFit", lambda: LabellerFit()(judged).backward())
    made = step("generator")
    fake, planes = made.fake, made.planes
    assert fake.parsing is not None
    made.__dict__["fake"] = dataclasses.replace(fake.detach(), parsing=fake.parsing.detach().requires_grad_(True))
    made.__dict__["planes"] = planes.detach().requires_grad_(True)
    told("ParsingAgreement", lambda: ParsingAgreement()(made).backward())
    told("DensitySmoothness", lambda: DensitySmoothness()(made).backward(), DensitySmoothness().every)
    random, seen = torch.Generator().manual_seed(0), fake.detach()
    told("augmentation of pictures at probability 0.6", lambda: augment(seen, AugmentSettings(), 0.6, random))


def judging(model: ModelSettings, batch: int, repeats: int) -> None:
    """Print the processor time per picture of discriminators with and without frozen features, pictures being there already.

    They take turns, so that what else the machine does slows all of them.
    """
    shown, _ = data_like(model, batch)
    settings = {"usual": None, "frozen": FrozenSettings(), "frozen, width 32": FrozenSettings(channels=32, width=32)}
    judges = {name: make_discriminator(dataclasses.replace(model.discriminator, frozen=it)) for name, it in settings.items()}
    wanted = {name: [one.detach() for one in flat(judge.activations(shown))] for name, judge in judges.items()}
    moved = dataclasses.replace(shown, image=shown.image.clone().requires_grad_(True))

    def work(name: str, what: str) -> None:
        judge = judges[name].requires_grad_(what == "its update")
        if what == "its update":
            (judge(shown).sum() + judge(shown).sum()).backward()
        elif what == "for the generator":
            judge(moved).sum().backward()
        else:
            picture_errors(flat(judge.activations(moved)), wanted[name]).sum().backward()

    times: dict[tuple[str, str], list[float]] = {
        (name, what): [] for name in judges for what in ("its update", "for the generator", "matching of features")
    }
    for turn in range(repeats + 1):
        for key, taken in times.items():
            start = time.process_time()
            work(*key)
            if turn:  # the first is a warm-up
                taken.append(1e3 * (time.process_time() - start) / batch)
    for (name, what), taken in times.items():
        told = f"{statistics.median(taken):6.1f} ms a picture ({min(taken):.1f} to {max(taken):.1f})"
        print(f"{name:18} {what:22} {told}, {sum(part.numel() for part in judges[name].parameters()):,} trained numbers")


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
    judging(model, given.batch, given.repeats)
    cost(model, given.batch, given.repeats)
    if given.data:
        teach(given.data, given.batch, given.steps, model.discriminator.resolution, model.generator.neural_resolution)


if __name__ == "__main__":
    main()
