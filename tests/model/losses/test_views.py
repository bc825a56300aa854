"""Learning from views: every term by its formula, unknown persons left out, and nothing of the ground in the head's style."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from spherehead.model.losses import ClassAgreement, DepthAgreement, MaskAgreement, Perceptual, Reconstruction, StylePrior
from spherehead.model.losses import views as views_module
from spherehead.model.losses.step import Step, Views
from spherehead.model.losses.views import weighted
from spherehead.model.nets.persons import PersonTable, ground_colours
from spherehead.model.portrait import Portrait
from spherehead.model.presets import ModelSettings
from torch import Tensor
from torch.nn import functional


@pytest.fixture(scope="module")
def known(smallest: ModelSettings) -> ModelSettings:
    """The smallest model with a Gaussian of styles and a ground of its own; 20 latents, of which 4 are the head's."""
    background = smallest.generator.background
    assert background is not None
    generator = dataclasses.replace(
        smallest.generator, z_dim=20, styles="gaussian", background=dataclasses.replace(background, own_style=True),
        camera_shift=False,
    )  # fmt: skip
    return ModelSettings(generator, smallest.discriminator)


@pytest.fixture
def step(known: ModelSettings, make_step: Callable[..., Step]) -> Step:
    torch.manual_seed(1)
    classes = torch.randint(0, 19, (6, 16, 16), generator=torch.Generator().manual_seed(5))
    return make_step(
        "generator", model=known, persons=PersonTable(torch.tensor([7, 3, 9]), 8),
        person=torch.tensor([2, 0, -1, 1, 0, -1]), parsing_map=classes,
    )  # fmt: skip


def test_only_known_persons_are_rebuilt_each_from_its_row_and_camera(step: Step) -> None:
    views = step.views
    assert views.rows.tolist() == [0, 1, 3, 4] and step.persons is not None
    torch.testing.assert_close(views.styles, step.persons.styles[[2, 0, 1, 0]])
    assert torch.equal(views.made.camera, step.real_sharp.camera[views.rows])
    assert torch.equal(views.wanted.image, step.real_sharp.image[views.rows])


def test_reconstruction_is_its_formula(step: Step) -> None:
    views = step.views
    wanted = torch.zeros(())
    for made, real in ((views.made.image, views.wanted.image), (views.made.raw, views.wanted.raw)):
        error = (made - real).double()
        for factor in (1, 2):
            wanted = wanted + functional.avg_pool2d(error, factor).abs().mean(dim=(1, 2, 3)).sum() / 6
        across, down = (error[..., 1:] - error[..., :-1]).abs(), (error[..., 1:, :] - error[..., :-1, :]).abs()
        wanted = wanted + 3.0 * (across.mean(dim=(1, 2, 3)) + down.mean(dim=(1, 2, 3))).sum() / 6
    got = Reconstruction(levels=2, gradient=3.0, face=0.0)(step)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-6)


def test_pixels_count_by_what_they_show() -> None:
    values = torch.rand(2, 3, 4, 4)
    weight = torch.zeros(2, 1, 4, 4)
    weight[:, :, 1, 2] = 5.0
    torch.testing.assert_close(weighted(values, weight), values[:, :, 1, 2].mean(dim=1))


def test_a_masked_ground_does_not_count(step: Step) -> None:
    term = Reconstruction(levels=1, gradient=0.0, face=0.0, outside=0.0)
    views, mask = step.views, torch.zeros(4, 1, 8, 8)
    mask[..., 4:] = 1.0
    share = functional.interpolate(mask, size=(16, 16), mode="bilinear")
    outside, far = share == 0, functional.avg_pool2d(share, 2) == 0
    values = []
    for ground in (views.wanted.image, torch.full_like(views.wanted.image, 0.3)):
        image = torch.where(outside, ground, views.wanted.image)
        raw = torch.where(far, ground[..., :8, :8], views.wanted.raw)
        wanted = dataclasses.replace(views.wanted, image=image, raw=raw, mask=mask)
        step.__dict__["views"] = dataclasses.replace(views, wanted=wanted)
        values.append(float(term(step).detach()))
    assert bool(outside.any()) and bool(far.any()) and values[0] == values[1] > 0.1


def test_mask_and_classes_are_cross_entropies(step: Step) -> None:
    views = step.views
    made, wanted = views.made.mask, views.wanted.mask
    assert made is not None and wanted is not None and views.made.parsing is not None and step.parsing_map is not None
    p = made.clamp(1e-4, 1 - 1e-4)
    entropy = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean(dim=(1, 2, 3)).sum() / 6
    torch.testing.assert_close(MaskAgreement()(step), entropy, rtol=1e-4, atol=1e-6)
    shares = functional.one_hot(step.parsing_map[views.rows], 20).permute(0, 3, 1, 2).float()
    shares = functional.avg_pool2d(shares, 2)
    logs = views.made.parsing.clamp_min(1e-6).log()
    torch.testing.assert_close(ClassAgreement()(step), -(shares * logs).sum(1).mean(dim=(1, 2)).sum() / 6)
    torch.testing.assert_close(StylePrior()(step), views.styles.square().mean(dim=1).sum() / 6)


def test_depth_counts_where_a_surface_is_known(step: Step) -> None:
    """L1 in world units, weighted by the exact mask; pixels and pictures without a surface do not count."""
    views = step.views
    made, mask = views.made.depth, views.wanted.mask
    assert made is not None and mask is not None
    exact = made.detach() + 0.25
    exact[0], exact[1, :, :4], exact[1, :, 4:] = 0.0, 0.0, made.detach()[1, :, 4:] - 0.5
    step.__dict__["views"] = dataclasses.replace(views, wanted=dataclasses.replace(views.wanted, depth=exact))
    assert float(DepthAgreement()(step).detach()) == pytest.approx((0.0 + 0.5 + 0.25 + 0.25) / 6, rel=1e-5)
    step.__dict__["views"] = views
    with pytest.raises(ValueError, match="depth maps"):
        DepthAgreement()(step)


def test_depth_counts_by_the_exact_mask(step: Step) -> None:
    views = step.views
    made = views.made.depth
    assert made is not None and views.wanted.mask is not None
    share, error = torch.zeros_like(made), torch.full_like(made, 0.25)
    share[..., :4], share[..., 4:6] = 1.0, 0.5  # whole, half and outside
    error[..., 4:6], error[..., 6:] = 0.75, 9.0
    wanted = dataclasses.replace(views.wanted, depth=made.detach() + error, mask=share)
    step.__dict__["views"] = dataclasses.replace(views, wanted=wanted)
    expected = (4 * 0.25 + 2 * 0.5 * 0.75) / (4 + 2 * 0.5)
    assert float(DepthAgreement()(step).detach()) == pytest.approx(4 * expected / 6, rel=1e-5)


def test_the_look_of_the_ground_does_not_count(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """The term is the network's distance within the exact mask, over all rows of the micro-batch."""
    monkeypatch.setattr(views_module, "perceptual_net", lambda device: pixel_distance)
    views = step.views
    mask = views.wanted.mask
    assert mask is not None
    inside = functional.interpolate(mask, size=views.wanted.image.shape[-2:], mode="bilinear")
    expected = weighted((views.made.image - views.wanted.image).square(), inside).sum() / 6
    torch.testing.assert_close(Perceptual(face=0.0)(step), expected)


def pixel_distance(made: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """A network that sees pixels themselves."""
    return weighted((made - wanted).square(), weight)


def test_a_right_view_costs_nothing(step: Step) -> None:
    views = step.views
    same = dataclasses.replace(views.made, image=views.wanted.image, raw=views.wanted.raw)
    step.__dict__["views"] = Views(views.rows, views.styles, same, views.wanted)
    assert float(Reconstruction()(step)) == 0.0


def test_gradients_reach_persons_and_generator_and_never_a_stranger(step: Step) -> None:
    assert step.persons is not None
    (Reconstruction()(step) + StylePrior()(step)).backward()
    grad = step.persons.styles.grad
    assert grad is not None and bool((grad.abs().sum(dim=1) > 0).all())
    assert step.generator.backbone.blocks[0].second.weight.grad is not None
    assert step.persons.to_ground.weight.grad is not None


def test_a_batch_of_strangers_costs_nothing(known: ModelSettings, make_step: Callable[..., Step]) -> None:
    persons = PersonTable(torch.tensor([1]), 8)
    step = make_step("generator", model=known, persons=persons, person=torch.full((6,), -1))
    for term in (Reconstruction(), MaskAgreement(), ClassAgreement(), StylePrior()):
        assert float(term(step)) == 0.0


def test_terms_of_views_need_a_table(make_step: Callable[..., Step]) -> None:
    with pytest.raises(ValueError, match="--warm-start views"):
        Reconstruction()(make_step("generator"))


def test_the_ground_is_told_by_colours_outside_the_head_alone() -> None:
    image, mask = torch.rand(2, 3, 16, 16), torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:12, 4:] = 1.0
    found = ground_colours(image, mask)
    torch.testing.assert_close(found, ground_colours(torch.where(mask > 0, 0.9, image), mask))
    outside = image[0].masked_select((mask[0] == 0).expand(3, -1, -1)).view(3, -1).mean(dim=1)
    torch.testing.assert_close(found[0].view(3, 4, 4)[:, 1, 2], outside)  # a cell that the head covers
    torch.testing.assert_close(found[0].view(3, 4, 4)[:, 0, 1], image[0, :, :4, 4:8].mean(dim=(1, 2)))
    assert float(ground_colours(image, torch.ones_like(mask)).abs().max()) == 0.0


def test_the_ground_moves_the_background_and_never_the_heads_planes(step: Step) -> None:
    generator = step.generator
    ws = generator.styles(torch.randn(1, 20), None)
    other = ws.clone()
    other[:, -1] += 1.0
    torch.testing.assert_close(generator.planes(ws), generator.planes(other), rtol=0, atol=0)
    seen: list[Portrait] = [generator.synthesise(w, step.camera[:1]) for w in (ws, other)]
    assert not torch.equal(seen[0].image, seen[1].image)
    assert seen[0].mask is not None and seen[1].mask is not None and torch.equal(seen[0].mask, seen[1].mask)
