"""Light and rendering: meters against integrals by hand, probes that cannot hurt, noise that goes and edges that stay."""

from __future__ import annotations

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.images.colour_space import linear_to_srgb, srgb_to_linear
from spherehead.pipeline.synthetic.people.paint import recoloured
from spherehead.pipeline.synthetic.rendering import exposure, render
from spherehead.pipeline.synthetic.rendering import light as light_module
from spherehead.pipeline.synthetic.rendering.denoise import denoise, spread
from spherehead.pipeline.synthetic.rendering.exact_pass import View
from spherehead.pipeline.synthetic.rendering.exposure import composite, expose, window_of
from spherehead.pipeline.synthetic.rendering.light import (
    KINDS,
    SKY,
    KeyLight,
    Light,
    blackbody,
    draw_background,
    draw_light,
    sky_directions,
)  # fmt: skip
from spherehead.pipeline.synthetic.rendering.render import RenderError, mitsuba, sampler_of, usable
from spherehead.pipeline.synthetic.shading import surfaces


def test_an_even_sky_gives_pi_from_every_side() -> None:
    light = Light(np.ones((*SKY, 3), dtype=np.float32), None, 0.4)
    for normal in np.eye(3):
        assert light.irradiance(normal) == pytest.approx(np.pi, rel=0.01)
    assert light.gain(np.array([0.0, 0.0, 1.0])) == pytest.approx(1.0, rel=0.01)


def test_a_lamp_lights_what_faces_it() -> None:
    """Radiance times solid angle: 10 * pi * 0.25^2 / 4 for a lamp of radius 0.25 two units away."""
    lamp = KeyLight((0.0, 0.0, 2.0), 0.25, (10.0, 10.0, 10.0))
    light = Light(np.zeros((*SKY, 3), dtype=np.float32), lamp, 0.4)
    assert light.irradiance(np.array([0.0, 0.0, 1.0])) == pytest.approx(10 * np.pi * 0.25**2 / 4)
    assert light.irradiance(np.array([0.0, 0.0, -1.0])) == 0.0


def test_light_and_background_follow_their_chance_alone() -> None:
    first, second = (draw_light(np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.sky, second.sky)
    assert first.key == second.key
    assert first.sky.shape == (*SKY, 3)
    assert (first.sky > 0).all()
    for kind in KINDS:
        one, other = (draw_background(np.random.default_rng(9), 64, kind) for _ in range(2))
        assert np.array_equal(one, other)
        assert one.shape == (64, 64, 3)
        assert (one.std(axis=(0, 1)).max() < 1e-6) == (kind == "plain")


def cast(light: Light) -> np.ndarray:
    """The colour of all light together, times solid angles."""
    _, solid_angles = sky_directions()
    total = (light.sky * solid_angles[:, None, None]).sum(axis=(0, 1)).astype(np.float64)
    if light.key is not None:
        total += np.array(light.key.colour) * np.pi * light.key.radius**2 / np.dot(light.key.place, light.key.place)
    return total


def test_white_balance_takes_out_its_share_of_a_cast_and_keeps_the_luminance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logarithms of red over green and blue over green shrink to 1 - BALANCE of what they were."""
    balanced = [draw_light(np.random.default_rng(seed)) for seed in range(12)]
    monkeypatch.setattr(light_module, "BALANCE", 0.0)
    for seed, one in enumerate(balanced):
        before, after = cast(draw_light(np.random.default_rng(seed))), cast(one)
        luma = np.array([0.2126, 0.7152, 0.0722])
        assert after @ luma == pytest.approx(before @ luma, rel=1e-4)
        ratios = np.log(after[[0, 2]] / after[1]), np.log(before[[0, 2]] / before[1])
        assert ratios[0] == pytest.approx(0.2 * ratios[1], abs=1e-4)


def test_most_pictures_have_a_small_bright_window_in_front_of_the_face() -> None:
    """Without it eyes mirror nothing small: where the sky is brightest in front, it falls to half within 18 degrees."""
    directions, _ = sky_directions()
    small = 0
    for seed in range(100):
        luma = draw_light(np.random.default_rng(seed)).sky @ np.array([0.2126, 0.7152, 0.0722])
        front = np.where(directions[..., 2] > 0.1, luma, 0.0)
        top = directions[np.unravel_index(front.argmax(), front.shape)]
        ring = np.abs(np.degrees(np.arccos(np.clip(directions @ top, -1.0, 1.0))) - 24.0) < 6.0
        small += bool(np.median(luma[ring]) < 0.5 * front.max())
    assert small >= 70


def test_warm_light_is_red_and_daylight_white() -> None:
    assert blackbody(6504.0) == pytest.approx(np.ones(3))
    warm = blackbody(2856.0)
    assert warm[0] > warm[1] > warm[2]


def test_srgb_goes_there_and_back() -> None:
    values = np.linspace(0.0, 1.0, 101)
    assert linear_to_srgb(srgb_to_linear(values)) == pytest.approx(values, abs=1e-6)
    assert srgb_to_linear(np.array([0.5]))[0] == pytest.approx(0.2140, abs=1e-4)


def test_nothing_over_a_background_is_the_background_and_half_is_half_the_light() -> None:
    background = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    clear = composite(np.zeros((8, 8, 3)), np.zeros((8, 8, 1)), background)
    assert np.array_equal(clear, background)
    half = composite(np.full((1, 1, 3), 0.25), np.full((1, 1, 1), 0.5), np.full((1, 1, 3), 255, np.uint8))
    assert srgb_to_linear(half / 255.0) == pytest.approx(np.full((1, 1, 3), 0.75), abs=0.005)


def test_a_variant_that_does_not_run_is_refused_without_harm() -> None:
    pytest.importorskip("mitsuba")
    assert not usable("no_such_variant")
    with pytest.raises(RenderError, match="scalar_rgb"):
        mitsuba("cuda_ad_rgb" if not usable("cuda_ad_rgb") else "no_such_variant")


def test_one_speck_goes_and_an_edge_stays() -> None:
    picture = np.full((9, 9, 4), 0.2, dtype=np.float32)
    picture[..., 3] = 1.0
    picture[:, 5:, :3] = 0.9
    picture[3, 2, :3] = 40.0
    light = Light(np.full((*SKY, 3), 1.0, dtype=np.float32), None, 0.4)
    out = expose(picture, Camera.look_at(0.0, 0.0), light)
    assert out[3, 2, 0] == pytest.approx(out[0, 0, 0])
    assert out[4, 5, 0] / out[4, 4, 0] == pytest.approx(4.5, rel=1e-5)


def test_noise_goes_while_texture_and_outline_stay() -> None:
    """A checkered wall under even light with noise: most of the noise goes, the squares keep their colours."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    albedo = np.where((rows // 4 + columns // 4) % 2, 0.6, 0.1)[..., None].repeat(3, axis=2).astype(np.float32)
    normals = np.zeros((64, 64, 3), dtype=np.float32)
    normals[..., 2] = 1.0
    parsing = np.full((64, 64), 1, dtype=np.uint8)
    parsing[:, 40:] = 17
    view = View(parsing, np.full((64, 64), 255, np.uint8), np.ones((64, 64), np.float32), normals, albedo)
    level = np.where(parsing == 1, 1.0, 0.4)[..., None]
    clean = albedo * level
    noisy = np.dstack([clean * random.gamma(16.0, 1 / 16.0, clean.shape), np.ones((64, 64))]).astype(np.float32)
    calm = denoise(noisy, view, strength=4.0)[..., :3]  # as wide as for 256 pixels
    inside = (np.abs(columns - 40) > 6) & (np.minimum(rows, columns) > 4) & (np.maximum(rows, columns) < 60)
    before, after = (np.sqrt(np.mean(((image - clean) / clean)[inside] ** 2)) for image in (noisy[..., :3], calm))
    assert after < 0.45 * before
    step = calm[:, 41].mean() / calm[:, 38].mean()
    assert step == pytest.approx(clean[:, 41].mean() / clean[:, 38].mean(), rel=0.1)


def test_the_compiled_cleaning_is_the_plain_one_and_leaves_eyes_alone() -> None:
    random = np.random.default_rng(6)
    normals = random.normal([0.0, 0.0, 1.0], 0.2, (20, 20, 3))
    normals = (normals / np.linalg.norm(normals, axis=2, keepdims=True)).astype(np.float32)
    parsing = random.choice([1, INDEX["left_eye"], 17], (4, 4)).repeat(5, axis=0).repeat(5, axis=1).astype(np.uint8)
    albedo = random.uniform(0.05, 0.9, (20, 20, 3)).astype(np.float32)
    picture = random.uniform(0.0, 1.0, (20, 20, 4)).astype(np.float32)
    picture[..., 3] = np.where(random.random((20, 20)) < 0.8, 1.0, 0.5)
    view = View(parsing, np.full((20, 20), 255, np.uint8), np.ones((20, 20), np.float32), normals, albedo)
    fast = denoise(picture, view)
    slow, colour, solid = picture.copy(), albedo + np.float32(0.012), picture[..., 3] > 0.9
    distance = np.hypot(*np.mgrid[-2:3, -2:3])  # radius 2, deviation 0.6 of it
    near = np.exp(-(distance**2) / (2 * 1.2**2)).astype(np.float32)
    wanted = solid & (parsing != INDEX["left_eye"])
    spread(np.log1p(picture[..., :3] / colour), normals, parsing, solid, wanted, near, colour, slow)
    assert fast == pytest.approx(slow, abs=1e-5)
    assert np.array_equal(fast[~wanted], picture[~wanted])
    assert np.abs(fast - picture)[wanted][:, :3].mean() > 0.05


def test_recoloured_hair_has_the_asked_colour_and_its_strands() -> None:
    random = np.random.default_rng(1)
    strands = random.uniform(20, 60, (16, 16, 1)).repeat(3, axis=2)
    picture = np.dstack([strands, np.full((16, 16), 200)]).astype(np.uint8)
    painted = recoloured(picture, (0.6, 0.3, 0.1))
    mean = painted[..., :3].reshape(-1, 3).mean(axis=0) / 255.0
    assert mean == pytest.approx([0.6, 0.3, 0.1], abs=0.08)
    assert (painted[..., 3] == 200).all()
    assert np.corrcoef(painted[..., 0].ravel(), strands[..., 0].ravel())[0, 1] > 0.5


def test_finishes_are_known() -> None:
    assert {"skin", "eye", "hair", "cloth", "frame", "metal", "lens"} <= set(render.FINISHES)
    assert set(render.FINISHES) - set(surfaces.FINISHES) == {"strand", "wet strand"}  # those have a module of their own


def test_a_window_holds_all_that_is_covered() -> None:
    mask = np.zeros((40, 50), dtype=np.uint8)
    assert window_of(mask) is None
    mask[12, 30] = mask[20, 47] = 1
    left, top, right, bottom = window_of(mask, margin=4) or (0, 0, 0, 0)
    assert (left, top, right, bottom) == (26, 8, 50, 25)


def test_pale_skin_beside_dark_hair_is_not_washed_out() -> None:
    picture = np.full((10, 10, 4), 0.01, dtype=np.float32)
    picture[..., 3] = 1.0
    picture[:3, :, :3] = 0.7
    light = Light(np.full((*SKY, 3), 1.0, dtype=np.float32), None, 0.4)
    out = expose(picture, Camera.look_at(0.0, 0.0), light)
    assert out[0, 0, 0] == pytest.approx(exposure.BRIGHT[0][1], rel=1e-5)
    dark = picture.copy()
    dark[..., :3] = 0.02
    assert expose(dark, Camera.look_at(0.0, 0.0), light)[0, 0, 0] > 1.2 * 0.02 * light.gain(np.array([0.0, 0.0, 1.0]))


def test_every_sampler_takes_as_many_samples_as_asked_for() -> None:
    """Mitsuba would round a count up, with a warning for every picture, where its strata do not divide it."""
    pytest.importorskip("mitsuba")
    mi = mitsuba("scalar_rgb")
    for samples in (1, 2, 7, 12, 16, 30, 32, 64, 100, 128):
        sampler = mi.load_dict({"type": sampler_of(samples), "sample_count": samples})
        assert sampler.sample_count() == samples
    assert [sampler_of(samples) for samples in (16, 30, 32)] == ["multijitter", "multijitter", "independent"]
