"""What a generator guarantees whatever its volume: one seed one picture, cached planes, equal ways to compute, refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_generators import cameras, latents, made, relative, shrunk
from spherehead.manifests.config import override
from spherehead.model.generator import Generator
from spherehead.model.presets import preset
from spherehead.model.volume_rendering.base import Randomness, RenderError
from spherehead.model.volume_rendering.rays import LabelError
from spherehead.model.volumes.base import VolumeError

TINY = ["tiny-64", "tiny-64-feedback", "tiny-64-single", "tiny-64-planar", "tiny-64-trigrid", "tiny-64-hyplane"]


@pytest.mark.parametrize("name", TINY)
def test_portraits_are_whole_and_differentiable(name: str) -> None:
    generator = made(shrunk(name)).train()
    portrait = generator(latents(2), cameras(0.0, 1.0), noise="random", random=torch.Generator().manual_seed(0))
    assert portrait.image.shape == (2, 3, 16, 16)
    assert portrait.raw.shape == (2, 3, 8, 8)
    assert portrait.mask is not None and portrait.mask.shape == (2, 1, 8, 8)
    assert portrait.depth is not None and bool(((portrait.depth > 2.2) & (portrait.depth < 3.6)).all())
    assert portrait.parsing is not None
    torch.testing.assert_close(portrait.parsing.sum(1), torch.ones(2, 8, 8))
    (portrait.image.square().mean() + portrait.mask.mean() + portrait.parsing[:, 1].mean()).backward()
    grads = {name: parameter.grad for name, parameter in generator.named_parameters()}
    assert all(grad is None or bool(grad.isfinite().all()) for grad in grads.values())
    idle = {name for name, grad in grads.items() if grad is None}
    assert all(name.startswith("upsampler.") and name.endswith("noise_strength") for name in idle)


def test_one_seed_gives_one_picture_and_noise_changes_it() -> None:
    generator, z, camera = made(shrunk("tiny-64")), latents(1), cameras(0.3)
    with torch.no_grad():
        first, again = generator(z, camera), generator(z, camera)
        drawn = [generator(z, camera, noise="random", random=torch.Generator().manual_seed(7)).image for _ in range(2)]
        bare = generator(z, camera, noise="none").image
    assert torch.equal(first.image, again.image)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(first.image, drawn[0])
    assert not torch.equal(first.image, bare)


@pytest.mark.parametrize("name", TINY)
def test_cached_planes_give_the_same_picture(name: str) -> None:
    generator, z, camera = made(shrunk(name)), latents(2), cameras(0.3, -2.0)
    ws = generator.styles(z, camera)
    with torch.no_grad():
        wanted, planes = generator.synthesise(ws, camera).image, generator.planes(ws)
        generator.backbone.register_forward_pre_hook(lambda *_: pytest.fail("a further view asked the backbone"))
        torch.testing.assert_close(generator.synthesise(ws, camera, planes=planes).image, wanted)
        one = generator.synthesise(ws[1:], camera[1:], planes=planes[1:]).image
    torch.testing.assert_close(one, wanted[1:], rtol=1e-4, atol=1e-4)


def test_folded_heads_are_the_heads_in_value_and_gradient() -> None:
    generator = made(shrunk("tiny-64")).double()
    generator.backbone.dtype = torch.float64
    ws = torch.randn(2, generator.num_ws, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parameters = [*generator.volume.parameters(), *generator.backbone.parameters()]
    folded = generator.planes(ws)
    apart = generator.volume.prepare(generator.backbone(ws))
    torch.testing.assert_close(folded, apart)
    probe = torch.randn_like(folded)
    for got, wanted in zip(
        torch.autograd.grad(folded, parameters, probe), torch.autograd.grad(apart, parameters, probe), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_truncation_pulls_the_first_layers_towards_the_mean() -> None:
    generator, z, camera = made(shrunk("tiny-64")), latents(3), cameras(0.0, 0.1, 0.2)
    full = generator.styles(z, camera)
    for _ in range(3000):
        generator.mapping.track(full[:, 0])
    torch.testing.assert_close(generator.mapping.w_mean, full[:, 0].mean(0), rtol=5e-3, atol=5e-3)
    half = generator.styles(z, camera, psi=0.5, cutoff=2)
    torch.testing.assert_close(half[:, :2], (full[:, :2] + generator.mapping.w_mean) / 2)
    assert torch.equal(half[:, 2:], full[:, 2:])
    assert torch.equal(generator.styles(z, camera, psi=0.0)[0], generator.styles(z, camera, psi=0.0)[1])


def test_condition_and_camera_are_apart() -> None:
    generator, z = made(shrunk("tiny-64")), latents(1)
    with torch.no_grad():
        same = generator.styles(z, cameras(0.0))
        blind = Generator(dataclasses.replace(generator.settings, condition_scale=0.0))
        assert torch.equal(blind.styles(z, cameras(0.0)), blind.styles(z, cameras(2.0)))
        assert not torch.equal(same, generator.styles(z, cameras(2.0)))
        other = Generator(dataclasses.replace(generator.settings, condition_dim=5))
        assert other(z, cameras(1.0), torch.randn(1, 5)).image.shape == (1, 3, 16, 16)


def test_camera_shift_moves_the_position_only() -> None:
    generator, camera = made(shrunk("tiny-64")), cameras(0.4)
    moved = generator.shifted(latents(1), camera) - camera
    still = [index for index in range(25) if index not in (3, 7, 11)]
    assert not moved[:, still].any()
    assert bool((moved[:, [3, 7, 11]] != 0).all())
    fresh = Generator(generator.settings)
    assert torch.equal(fresh.shifted(latents(1), camera), camera)
    fixed = Generator(dataclasses.replace(generator.settings, camera_shift=False))
    assert torch.equal(fixed.shifted(latents(1), camera), camera)


def test_another_background_changes_no_foreground() -> None:
    generator, camera = made(shrunk("tiny-64")), cameras(0.0)
    ws, other = generator.styles(latents(1), camera), generator.styles(latents(1, seed=2), camera)
    with torch.no_grad():
        mine, theirs = generator.synthesise(ws, camera), generator.synthesise(ws, camera, background_ws=other)
    assert mine.mask is not None and theirs.mask is not None and mine.depth is not None and theirs.depth is not None
    assert torch.equal(mine.mask, theirs.mask) and torch.equal(mine.depth, theirs.depth)
    assert not torch.equal(mine.image, theirs.image)


def test_feedback_starts_as_the_published_network_and_then_matters() -> None:
    generator, camera = made(shrunk("tiny-64-feedback")), cameras(0.0)
    assert sorted(generator.upsampler.guides) == ["0", "1"]
    with torch.no_grad():
        for guide in generator.upsampler.guides.values():
            guide.weight.zero_()
            guide.bias.zero_()
        started = generator(latents(1), camera).image
        plain = Generator(shrunk("tiny-64"))
        kept = {name: value for name, value in generator.state_dict().items() if "guides" not in name}
        plain.load_state_dict(kept)
        torch.testing.assert_close(plain.eval()(latents(1), camera).image, started)
        generator.upsampler.guides["1"].weight.fill_(0.5)
        assert not torch.allclose(generator(latents(1), camera).image, started)


def test_feedback_acts_at_every_scale_and_carries_gradients_to_the_parsing_head() -> None:
    settings = shrunk("tiny-64-feedback")
    wider = dataclasses.replace(settings.upsampler, doubles=(True, True))
    generator, camera = made(dataclasses.replace(settings, upsampler=wider)), cameras(0.0)
    entries: dict[str, tuple[int, ...]] = {}
    for index, block in enumerate(generator.upsampler.blocks):
        block.register_forward_pre_hook(lambda _, inputs, index=index: entries.update({str(index): inputs[0].shape[2:]}))
    for guide in generator.upsampler.guides.values():
        torch.nn.init.zeros_(guide.weight)
        torch.nn.init.zeros_(guide.bias)
    assert generator.parsing is not None
    classes = generator.parsing.to_classes.weight
    pictures = []
    for fed in ((), ("0",), ("1",), ("0", "1")):
        for index, guide in generator.upsampler.guides.items():
            guide.weight.data.fill_(0.5 if index in fed else 0.0)
            guide.weight.data[::2] *= -1
        portrait = generator(latents(1), camera)
        (grad,) = torch.autograd.grad(portrait.image.square().sum(), classes)
        assert bool(grad.any()) == bool(fed), "the picture moves the classes only where they are fed to it"
        pictures.append(portrait.image.detach())
    assert entries == {"0": (8, 8), "1": (16, 16)}
    for one in range(4):
        for other in range(one):
            assert relative(pictures[one], pictures[other]) > 1e-3


def test_hidden_parsing_layer_is_what_is_fed_back() -> None:
    settings = shrunk("tiny-64-feedback")
    assert settings.parsing is not None
    wide = dataclasses.replace(settings, parsing=dataclasses.replace(settings.parsing, hidden=12))
    generator = made(wide)
    assert generator.upsampler.guides["0"].weight.shape[1] == 12
    assert generator(latents(1), cameras(0.0)).image.shape == (1, 3, 16, 16)


def test_near_and_far_come_from_the_heads_sphere_so_any_distance_works() -> None:
    settings = shrunk("tiny-64")
    march = dataclasses.replace(settings.renderer, sphere_radius=0.6, coarse_samples=48, fine_samples=48)
    generator = made(dataclasses.replace(settings, renderer=march, camera_shift=False))
    near, z = cameras(0.4), latents(1)
    ws = generator.styles(z, near)
    far = near.clone()
    far[:, [3, 7, 11]] *= 2  # twice as far, with twice the focal length: nearly the same picture
    far[:, [16, 20]] *= 2
    with torch.no_grad():
        one, two = generator.synthesise(ws, near), generator.synthesise(ws, far)
        fixed = Generator(dataclasses.replace(settings, camera_shift=False)).eval()
        fixed.load_state_dict(generator.state_dict())
        usual, lost = fixed.synthesise(ws, near), fixed.synthesise(ws, far)
    assert one.mask is not None and two.mask is not None and usual.mask is not None and lost.mask is not None
    assert one.depth is not None and two.depth is not None
    assert float(lost.mask.max()) < 0.01 < 0.2 < float(two.mask.max())
    assert float((one.mask - two.mask).abs().mean()) < 0.02
    assert float(one.depth.min()) >= 2.0 and float(one.depth.max()) <= 3.4
    assert float(two.depth.min()) >= 4.7 and float(two.depth.max()) <= 6.1


def test_radii_of_the_two_spheres_are_settings_that_change_the_picture() -> None:
    model = override(preset("tiny-64"), ["generator.volume.radii=[1.2, 0.9]"]).generator
    assert model.volume.radii == (1.2, 0.9)  # type: ignore[union-attr]
    settings = shrunk("tiny-64")
    usual, other = made(settings), made(dataclasses.replace(settings, volume=model.volume))
    other.load_state_dict(usual.state_dict())
    with torch.no_grad():
        wanted, got = (generator(latents(1), cameras(0.2)).image for generator in (usual, other))
    assert bool(got.isfinite().all()) and relative(got, wanted) > 1e-3


def test_bad_input_is_named() -> None:
    generator, z, camera = made(shrunk("tiny-64")), latents(2), cameras(0.0, 1.0)
    with pytest.raises(ValueError, match=r"latent of shape \(B, 16\), got \(2, 15\)"):
        generator(z[:, :15], camera)
    with pytest.raises(ValueError, match=r"label of shape \(B, 25\), got \(2, 24\)"):
        generator(z, camera[:, :24])
    with pytest.raises(ValueError, match="as many latents as labels, got 2 and 1"):
        generator(z, camera[:1])
    broken = camera.clone()
    broken[1, 5] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        generator(z, broken)
    ws = generator.styles(z, camera)
    pixels, inside = camera.clone(), camera.clone()
    pixels[0, 16:22] *= 512
    inside[0, [3, 7, 11]] *= 0.1
    for label, words in (
        (broken, "finite"), (pixels, "divided by the image side"), (inside, "outside the head"), (camera[:1], "2, got 1"),
        (camera[:, :16], r"\(B, 25\)"),
    ):  # fmt: skip
        with pytest.raises(LabelError, match=words):
            generator.synthesise(ws, label)
    with pytest.raises(ValueError, match="style vectors of shape"):
        generator.synthesise(ws[:, :-1], camera)
    with pytest.raises(ValueError, match=r"style vectors of shape \(2, 10, 16\), got \(1, 10, 16\)"):
        generator.synthesise(ws, camera, background_ws=ws[:1])
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite numbers in the latent"):
            generator(z * bad, camera)
        with pytest.raises(ValueError, match="finite style vectors"):
            generator.synthesise(ws * bad, camera)


def test_planes_resolutions_and_batches_that_do_not_fit_are_named() -> None:
    generator, z, camera = made(shrunk("tiny-64")), latents(2), cameras(0.0, 1.0)
    ws = generator.styles(z, camera)
    planes = generator.planes(ws)
    with pytest.raises(VolumeError, match="as many point sets as heads, got 2 and 1"):
        generator.synthesise(ws, camera, planes=planes[:1])
    with pytest.raises(VolumeError, match=r"planes as \(B, 26,136, C\), as this volume lays them, got \(2, 9, 16\)"):
        generator.synthesise(ws, camera, planes=planes[:, :9])
    with pytest.raises(LabelError, match="at least 1 pixel, got 0"):
        generator(z, camera, neural_resolution=0)
    with pytest.raises(LabelError, match="at least one camera label, got none"):
        generator(z[:0], camera[:0])
    with pytest.raises(RenderError, match=r"fine numbers of shape \(2, 64, 6\), got \(2, 64, 5\)"):
        generator.synthesise(ws, camera, randomness=Randomness(fine=torch.rand(2, 64, 5)))
