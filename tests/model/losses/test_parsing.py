"""Class maps teach the labeller, the labeller teaches the generator's parsing, and nobody learns from unknown pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from spherehead.manifests.config import ConfigError
from spherehead.model.losses.labeller import Labeller, LabellerSettings
from spherehead.model.losses.parsing import LabellerFit, ParsingAgreement, class_shares, cross_entropy
from spherehead.model.losses.step import ScheduleState, Step
from spherehead.model.presets import ModelSettings

SMALL = LabellerSettings(width=8, levels=1)


@pytest.fixture
def labeller() -> Labeller:
    torch.manual_seed(0)
    return LabellerFit(network=SMALL).open(20)


def random_map(count: int = 6, side: int = 16) -> torch.Tensor:
    return torch.randint(0, 19, (count, side, side), generator=torch.Generator().manual_seed(2)).to(torch.uint8)


def test_cross_entropy_is_the_mean_over_known_pixels() -> None:
    random = torch.Generator().manual_seed(0)
    logs = torch.log_softmax(torch.randn(2, 5, 4, 4, generator=random), dim=1)
    classes = torch.randint(0, 5, (2, 4, 4), generator=random).to(torch.uint8)
    classes[0, :2] = 255
    total, known = 0.0, 0
    for row in range(2):
        for y in range(4):
            for x in range(4):
                if int(classes[row, y, x]) != 255:
                    total, known = total - float(logs[row, int(classes[row, y, x]), y, x]), known + 1
    assert float(cross_entropy(logs, class_shares(classes, 5, 4))) == pytest.approx(total / known, rel=1e-5) and known == 24
    assert float(cross_entropy(logs, class_shares(torch.full_like(classes, 255), 5, 4))) == 0.0


def test_shares_tell_how_much_of_a_pixel_is_which_class() -> None:
    classes = torch.zeros(1, 16, 16, dtype=torch.uint8)
    classes[:, :, 8:] = 3
    shares = class_shares(classes, 5, 4)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 4, 4))
    torch.testing.assert_close(shares[0, 3].mean(), torch.tensor(0.5))
    assert float(shares[0, 0, 0, 0]) == pytest.approx(1.0) and float(shares[0, 3, 0, 3]) == pytest.approx(1.0)
    classes[:, 8:] = 255
    shares = class_shares(classes, 5, 4)
    torch.testing.assert_close(shares.sum(1).mean(), torch.tensor(0.5))
    assert float(shares[:, :, 3].abs().max()) < 1e-6
    with pytest.raises(ValueError, match="classes below 5 or 255 for unknown, got 7"):
        class_shares(torch.full((1, 4, 4), 7), 5, 4)


def test_the_labeller_learns_a_rule_of_pictures(labeller: Labeller, make_step: Callable[..., Step]) -> None:
    """Classes are told by colour here, and half of the pixels are unknown; it has to fill in the rest by the rule."""
    random, adam = torch.Generator().manual_seed(0), torch.optim.Adam(labeller.parameters(), lr=0.01)

    def pair() -> tuple[torch.Tensor, torch.Tensor]:
        coarse = torch.randint(0, 3, (6, 4, 4), generator=random)
        classes = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
        return (classes[:, None].expand(-1, 3, -1, -1) - 1.0) * 0.8, classes.to(torch.uint8)

    step = make_step("discriminator", networks={"labeller": labeller})
    for _ in range(120):
        image, classes = pair()
        step.parsing_map = torch.where(torch.rand(classes.shape, generator=random) < 0.5, 255, classes).to(torch.uint8)
        step.real_sharp = dataclasses.replace(step.real_sharp, image=image)
        adam.zero_grad()
        LabellerFit(network=SMALL)(step).backward()
        adam.step()
    image, classes = pair()
    guessed = labeller(image, 8).argmax(1)
    wanted = classes[:, 1::2, 1::2]
    assert float((guessed == wanted).double().mean()) > 0.95


def test_unknown_pixels_teach_nothing() -> None:
    classes = random_map(2, 8)
    classes[:, 2:5] = 255
    logits = torch.randn(2, 20, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    cross_entropy(logits.log_softmax(1), class_shares(classes, 20, 8)).backward()
    slope = logits.grad
    assert slope is not None and float(slope[:, :, 2:5].abs().max()) == 0.0
    assert float(slope[:, :, :2].abs().amin(dim=(0, 2, 3)).max()) > 0.0


def test_each_term_moves_its_own_network_only(labeller: Labeller, make_step: Callable[..., Step]) -> None:
    step = make_step("discriminator", networks={"labeller": labeller}, parsing_map=random_map())
    loss = LabellerFit(network=SMALL)(step)
    assert float(loss.detach()) == pytest.approx(math.log(20), rel=0.2)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in labeller.parameters())
    assert all(p.grad is None for network in (step.discriminator, step.generator) for p in network.parameters())
    labeller.zero_grad(set_to_none=True)
    step = make_step("generator", networks={"labeller": labeller})
    ParsingAgreement(confidence=0.0)(step).backward()
    assert all(p.grad is None for network in (labeller, step.discriminator) for p in network.parameters())
    reached = {name.split(".")[0] for name, p in step.generator.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached >= {"parsing", "decoder", "backbone"} and not reached & {"upsampler", "to_raw"}


def test_agreement_is_least_where_the_parsing_is_the_label(labeller: Labeller, make_step: Callable[..., Step]) -> None:
    step = make_step("generator", networks={"labeller": labeller})
    labels = labeller(step.fake.image, 8).softmax(1).detach()
    entropy = float(-(labels * labels.log()).sum(1).mean())

    def value(parsing: torch.Tensor) -> float:
        step.__dict__["fake"] = dataclasses.replace(step.fake, parsing=parsing)
        return float(ParsingAgreement(confidence=0.0)(step))

    assert value(labels) == pytest.approx(entropy, rel=1e-4)
    assert value(labels.roll(1, dims=1)) > entropy and value(torch.full_like(labels, 0.05)) == pytest.approx(
        math.log(20), rel=1e-4
    )


def test_only_confident_labels_count(labeller: Labeller, make_step: Callable[..., Step]) -> None:
    step = make_step("generator", networks={"labeller": labeller})
    torch.nn.init.zeros_(labeller.to_classes.weight)
    torch.nn.init.zeros_(labeller.to_classes.bias)
    assert float(ParsingAgreement(confidence=0.06)(step).detach()) == 0.0
    labeller.to_classes.bias.data[7] = 20.0
    assert step.fake.parsing is not None
    wanted = float(-step.fake.parsing[:, 7].detach().log().mean())
    assert float(ParsingAgreement()(step).detach()) == pytest.approx(wanted, rel=1e-4)


def test_teaching_begins_and_learning_ends_when_told(labeller: Labeller, make_step: Callable[..., Step]) -> None:
    networks = {"labeller": labeller}
    late, early = (
        ScheduleState(images=100, image_resolution=16, neural_resolution=8),
        ScheduleState(images=99, image_resolution=16, neural_resolution=8),
    )
    for schedule, runs in ((early, True), (late, False)):
        step = make_step("discriminator", networks=networks, parsing_map=random_map(), schedule=schedule)
        assert (float(LabellerFit(network=SMALL, until=100)(step).detach()) > 0) is runs
        step = make_step("generator", networks=networks, schedule=schedule)
        assert (float(ParsingAgreement(start=100, confidence=0.0)(step).detach()) > 0) is not runs


def test_every_resolution_on_the_way_of_a_schedule_will_do(labeller: Labeller, make_step: Callable[..., Step]) -> None:
    for resolution in (7, 8, 11):
        assert labeller(torch.zeros(2, 3, 16, 16), resolution).shape == (2, 20, resolution, resolution)
        schedule = ScheduleState(image_resolution=16, neural_resolution=resolution)
        given = {"networks": {"labeller": labeller}, "parsing_map": random_map(), "schedule": schedule}
        assert float(LabellerFit(network=SMALL)(make_step("discriminator", **given)).detach()) > 0
        step = make_step("generator", **given)
        assert float(ParsingAgreement(confidence=0.0)(step).detach()) > 0
        assert step.fake.parsing is not None and step.fake.parsing.shape[-1] == resolution


def test_what_is_missing_is_named(labeller: Labeller, make_step: Callable[..., Step], smallest: ModelSettings) -> None:
    networks = {"labeller": labeller}
    with pytest.raises(ValueError, match="data with class maps"):
        LabellerFit(network=SMALL)(make_step("discriminator", networks=networks))
    with pytest.raises(ValueError, match="add the labeller's own term"):
        ParsingAgreement()(make_step("generator"))
    generator = dataclasses.replace(smallest.generator, parsing=None)
    headless = ModelSettings(generator, dataclasses.replace(smallest.discriminator, parsing_channels=0))
    with pytest.raises(ValueError, match="generator with a parsing head"):
        ParsingAgreement()(make_step("generator", model=headless, networks=networks))
    with pytest.raises(ConfigError, match="widths divisible by 4"):
        LabellerSettings(width=6)
    with pytest.raises(ValueError, match="confidence in"):
        ParsingAgreement(confidence=1.0)
