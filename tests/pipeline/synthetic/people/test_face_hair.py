"""Hair of the face on people: beards and stubble are one region of class hair, and what is too fine to draw is painted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.hair.brows import LINE, brow_shadow, draw_brows
from spherehead.pipeline.synthetic.hair.face_hair import region
from spherehead.pipeline.synthetic.hair.look import BeardLook, BrowLook, Growth
from spherehead.pipeline.synthetic.people import paint
from spherehead.pipeline.synthetic.people.figure import Figure, body_of, build_figure
from spherehead.pipeline.synthetic.people.growth import LOWER_LASHES, face_shades, mean_head
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.people.settings import GROWN, PopulationSettings
from spherehead.pipeline.synthetic.rendering.exact_pass import GROWTH, Drawing, look

STUBBLE = BeardLook(
    style="shadow", cheeks=0.25, chin=0.3, moustache=0.25, sideburns=0.25, density=0.9, colour=(0.1, 0.08, 0.07), seed=2
)


def bearded(assets: Assets, beard: BeardLook | None) -> Figure:
    person = draw_person(assets, 3, 1, PopulationSettings(hair=GROWN, glasses=0.0))
    growth = Growth(None, beard, BrowLook())
    return build_figure(assets, dataclasses.replace(person, expression={}, growth=growth, hat="", scalp="bare", marks=None))


def specks(region: np.ndarray) -> int:
    """Pieces and holes of less than 12 pixels."""
    found = 0
    for part in (region, ~region):
        numbers, count = ndimage.label(part)
        found += int((np.bincount(numbers.ravel(), minlength=count + 1)[1:] < 12).sum())
    return found


@pytest.mark.parametrize("yaw", [0.0, 0.8])
def test_stubble_is_one_region_of_class_hair(makehuman: Assets, yaw: float) -> None:
    view = look(Drawing(bearded(makehuman, STUBBLE)), Camera.look_at(yaw, 0.0), 192)
    assert view.growth is not None
    hair = view.parsing == INDEX["hair"]
    assert hair.sum() > 600 and (hair == (view.growth == GROWTH.index("beard"))).all()
    assert specks(hair) <= 4


def test_a_faint_shadow_of_a_beard_is_skin(makehuman: Assets) -> None:
    faint = dataclasses.replace(STUBBLE, density=0.2)
    view = look(Drawing(bearded(makehuman, faint)), Camera.look_at(0.0, 0.0), 128)
    assert (view.parsing == INDEX["hair"]).sum() == 0
    assert (region(STUBBLE, mean_head(body_of(makehuman))) > 0.0).sum() > 200


def test_brows_end_beside_the_eye_and_not_at_the_temple(makehuman: Assets) -> None:
    """Their tail lies at most 1.2 cm farther out than the outer corner of the eye."""
    body = body_of(makehuman)
    person = draw_person(makehuman, 3, 1, PopulationSettings(hair=GROWN, glasses=0.0))
    figure = build_figure(makehuman, dataclasses.replace(person, expression={}))
    brows = next(group for group in figure.strands if group.kind == "brow")
    corner = figure.placement.apply(body.morph(person.shape)[list(LOWER_LASHES[1])])[-1, 0]
    assert corner < np.abs(brows.points[..., 0]).max() < corner + 1.2 * 0.0245 + 0.012
    assert LINE[-1][0] < 0.104 + 1.2 * 0.0245


def test_skin_beneath_brows_and_beards_takes_their_colour_there_only(makehuman: Assets) -> None:
    body, growth = body_of(makehuman), Growth(None, STUBBLE, BrowLook(density=1.0, colour=(0.2, 0.1, 0.05)))
    shades = face_shades(makehuman, body, growth)
    assert len(shades) == 2 and shades[0][1] == STUBBLE.colour
    person = dataclasses.replace(draw_person(makehuman, 3, 1), marks=None, scalp="bare", growth=growth)
    bare, painted = (paint.head_skin(makehuman, person, None, None, some).astype(int) for some in ((), shades))
    size = (bare.shape[1], bare.shape[0])
    left, top, right, bottom = paint.HEAD_CROP
    most = np.max([shade for shade, _ in shades], axis=0)[top:bottom, left:right]
    most = np.kron(most, np.ones((size[1] // most.shape[0], size[0] // most.shape[1])))
    change = np.abs(painted - bare).max(axis=2)
    assert change[most > 0.2].mean() > 8.0 and change[ndimage.maximum_filter(most, 25) == 0.0].max() == 0
    brow = brow_shadow(BrowLook(density=1.0), np.array([[0.07, 0.066, 0.14], [0.07, 0.03, 0.14], [0.16, 0.05, 0.1]]))
    assert brow[0] > 0.4 and brow[1] == brow[2] == 0.0


def test_darkening_a_box_of_the_skin_is_darkening_all_of_it() -> None:
    random = np.random.default_rng(3)
    skin = random.uniform(0.0, 255.0, (80, 60, 3)).astype(np.float32)
    grain, shade = np.ones((80, 60, 1), np.float32), np.zeros((20, 15), np.float32)
    shade[4:9, 3:11] = 0.25
    boxed, colour = skin.copy(), (0.5, 0.25, 0.0)
    paint._darken(boxed, shade, colour, grain, 4)
    inside = np.zeros((80, 60), dtype=bool)
    inside[16:36, 12:44] = True
    assert np.array_equal(boxed[~inside], skin[~inside])
    expected = 0.75 * skin + 0.25 * 255.0 * np.array(colour, np.float32)
    assert np.allclose(boxed[inside], expected[inside], atol=1e-3)


def test_brows_of_grey_hair_keep_pigment() -> None:
    """Grey beside skin looks blue: brows of grey hair are browner than it, those of brown hair are of its hue."""
    for grey in (0.45, 0.6, 0.75):
        red, green, blue = draw_brows(0.5, 0.8, (grey, grey, grey), np.random.default_rng(1)).colour
        assert red > green > blue and red - blue > 0.015
    brown = np.array((0.29, 0.19, 0.12))
    assert draw_brows(0.5, 0.2, (0.29, 0.19, 0.12), np.random.default_rng(1)).colour == pytest.approx(0.75 * brown)
