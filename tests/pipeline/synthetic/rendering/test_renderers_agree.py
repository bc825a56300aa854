"""Path tracing and raster light show one person under one light alike: where it is light and dark, and in which colours.

Each renderer's own tests hold it against formulas on balls and plates; these hold whole people against each other.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.people.settings import PopulationSettings
from spherehead.pipeline.synthetic.rendering.exact_pass import SUPERSAMPLING, Drawing, look
from spherehead.pipeline.synthetic.rendering.light import SKY, KeyLight, Light, sky_directions
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.shading.deferred import photograph
from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of

pytest.importorskip("mitsuba", reason="mitsuba is not installed")

SIZE, SAMPLES, BLOCK = 64, 4, 4
LUMA = np.array([0.2126, 0.7152, 0.0722])
KINDS = ("lobe", "lamp")
TOWARDS = {"left": (-1.0, 0.2, 0.3), "right": (1.0, 0.2, 0.3), "above": (0.1, 1.0, 0.2), "below": (0.1, -1.0, 0.2)}
VIEWS = {"front": 0.0, "behind": math.pi}
SLOPES = {"front": (0.7, 1.4), "behind": (0.5, 1.4)}
"""Limits of raster light's slope of contrast over path tracing's; from behind all is hair, which hides itself."""


def light_from(towards: tuple[float, float, float], kind: str) -> Light:
    """Return a faint even sky with a wide lobe or a lamp in one direction."""
    unit = np.array(towards) / np.linalg.norm(towards)
    place = 3.2 * unit
    lobe = 3.0 * np.exp(8.0 * (sky_directions()[0] @ unit - 1.0)) if kind == "lobe" else np.zeros(SKY)
    sky = (0.15 + lobe)[..., None].repeat(3, 2).astype(np.float32)
    return Light(sky, KeyLight((*place.tolist(),), 0.5, (12.0, 12.0, 12.0)) if kind == "lamp" else None, 0.4)


@dataclass(frozen=True, eq=False)
class Pair:
    """One view by both renderers, (S, S, 4) each, with its (S, S) classes."""

    traced: np.ndarray
    shaded: np.ndarray
    parsing: np.ndarray


Key = tuple[str, str, str]


@pytest.fixture(scope="module")
def pairs(makehuman: Assets) -> dict[Key, Pair]:
    """A person with short grown hair and a shirt, from two sides, under every light."""
    figure = build_figure(makehuman, draw_person(makehuman, 1, 12, PopulationSettings(hair="grown", hats=0.0, glasses=0.0)))
    drawing = Drawing(figure)
    studio, surfaces = Studio(figure), surfaces_of(drawing)
    found = {}
    for view, yaw in VIEWS.items():
        camera = Camera.look_at(yaw, 0.05)
        seen, parsing = drawing.see(camera, SIZE * SUPERSAMPLING, with_clear=False), look(drawing, camera, SIZE).parsing
        for kind, (side, towards) in itertools.product(KINDS, TOWARDS.items()):
            light = light_from(towards, kind)
            traced = studio.photograph(camera, light, SIZE, SAMPLES, 1)
            found[kind, side, view] = Pair(traced, photograph(surfaces, seen, camera, light, SUPERSAMPLING), parsing)
    return found


def blocks(picture: np.ndarray) -> np.ndarray:
    """Return (B, B, 2) mean luminance and opacity of blocks of pixels, which have less noise than pixels."""
    values = np.stack([picture[..., :3] @ LUMA, picture[..., 3]], axis=-1)
    return values.reshape(SIZE // BLOCK, BLOCK, SIZE // BLOCK, BLOCK, 2).mean(axis=(1, 3)) + 1e-9


def slope(one: np.ndarray, other: np.ndarray, axis: int) -> float:
    """Return how steeply the contrast of two pictures' luminance rises along an axis, per side of the picture.

    The contrast (b - a) / (b + a) of two lights says nothing of where dark hair and light skin lie: colours fall out of it.
    """
    first, second = blocks(one), blocks(other)
    solid = (first[..., 1] > 0.99) & (second[..., 1] > 0.99)
    contrast = ((second - first) / (second + first))[solid][:, 0]
    places = np.argwhere(solid)[:, 1 - axis] * BLOCK / SIZE
    return float(np.polyfit(places, contrast, 1)[0])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "second", "axis"), [("left", "right", 0), ("above", "below", 1)])
def test_light_from_opposite_sides_falls_on_opposite_sides_by_both(
    pairs: dict[Key, Pair], first: str, second: str, axis: int, kind: str, view: str
) -> None:
    one, other = pairs[kind, first, view], pairs[kind, second, view]
    way = -1.0 if (view, axis) == ("behind", 0) else 1.0  # the world's right is on the left from behind
    traced, shaded = way * slope(one.traced, other.traced, axis), way * slope(one.shaded, other.shaded, axis)
    least, most = SLOPES[view]
    assert traced > 0.2
    assert least * traced < shaded < most * traced


BOUNDS = {"skin": (0.75, 1.2, 0.03), "cloth": (0.65, 1.2, 0.03), "hair": (0.85, 1.15, 0.04)}
"""Class -> limits of raster light's luminance over path tracing's, and how far shares of red, green and blue may differ."""


@pytest.mark.parametrize("view", VIEWS)
def test_skin_hair_and_cloth_have_the_same_colours_in_both(pairs: dict[Key, Pair], view: str) -> None:
    """Means over all lights."""
    found: dict[str, list[float]] = {"traced": [], "shaded": []}
    for name, (least, most, tint) in BOUNDS.items():
        seen = [pair for (_, _, at), pair in pairs.items() if at == view]
        inside = (seen[0].parsing == INDEX[name]) & (seen[0].traced[..., 3] > 0.99)
        if inside.sum() < 40:
            assert (view, name) == ("behind", "cloth")
            continue
        traced, shaded = (np.mean([getattr(pair, of)[inside][:, :3] for pair in seen], axis=(0, 1)) for of in found)
        found["traced"].append(float(traced @ LUMA))
        found["shaded"].append(float(shaded @ LUMA))
        assert least < found["shaded"][-1] / found["traced"][-1] < most
        assert shaded / shaded.sum() == pytest.approx(traced / traced.sum(), abs=tint)
    assert np.argsort(found["shaded"]).tolist() == np.argsort(found["traced"]).tolist()
