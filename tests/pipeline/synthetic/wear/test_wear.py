"""What people wear: drawn by seed, outside of the head, of its exact class, and with all hair beneath it."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
from dressed_people import SETTINGS, bare_surface, classes, dressed
from scipy import ndimage
from spherehead.datasets.arrays import Floats
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.manifests.config import ConfigError, to_plain
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.hair.collision import LOW
from spherehead.pipeline.synthetic.hair.look import Growth
from spherehead.pipeline.synthetic.hair.scalp import CENTRE, Surface
from spherehead.pipeline.synthetic.hair.strands import Strands
from spherehead.pipeline.synthetic.hair.styles import draw_beard
from spherehead.pipeline.synthetic.hair.ties import direction
from spherehead.pipeline.synthetic.people.figure import Figure, build_figure
from spherehead.pipeline.synthetic.people.population import Person, draw_person
from spherehead.pipeline.synthetic.people.settings import ASSETS, DRAWN, PopulationSettings, deciding
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, look
from spherehead.pipeline.synthetic.rendering.light import draw_light
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.wear.bands import helmet
from spherehead.pipeline.synthetic.wear.clips import clips
from spherehead.pipeline.synthetic.wear.coverings import FACE
from spherehead.pipeline.synthetic.wear.dress import MAKERS, dress
from spherehead.pipeline.synthetic.wear.fabric import plain
from spherehead.pipeline.synthetic.wear.garment import Garment, ball, tube
from spherehead.pipeline.synthetic.wear.look import CLIPS, EARRINGS, NECKLACES, Accessory, Fabric, HeadWear, Wear
from spherehead.pipeline.synthetic.wear.pressing import Cover, press
from spherehead.pipeline.synthetic.wear.shell import leaning
from spherehead.pipeline.synthetic.wear.wardrobe import KINDS, WearShares, draw_head_wear


@pytest.fixture(scope="module")
def surface(makehuman: Assets) -> Surface:
    return bare_surface(makehuman)


def volume(garment: Garment) -> float:
    """Signed volume within a closed mesh (divergence theorem)."""
    first, second, third = (garment.points[garment.faces[:, k]] for k in range(3))
    return float((first * np.cross(second, third)).sum() / 6.0)


def test_balls_and_tubes_face_outwards_and_hold_what_formulas_say() -> None:
    sphere = ball("ball", "hat", "cloth", np.array([0.1, 0.2, 0.3]), 0.5, plain((0.5, 0.5, 0.5)), 64)
    assert volume(sphere) == pytest.approx(4.0 / 3.0 * np.pi * 0.5**3, rel=0.01)
    turn = np.linspace(0.0, 2.0 * np.pi, 256, endpoint=False)
    ring = np.column_stack([np.cos(turn), np.sin(turn), 0.0 * turn])
    torus = tube("ring", "earring", "metal", ring, 0.1, plain((0.5, 0.5, 0.5)), closed=True, round_=64)
    assert volume(torus) == pytest.approx(2.0 * np.pi**2 * 0.1**2, rel=0.01)


def test_shares_say_how_many_wear_what_and_nobody_does_by_default(makehuman: Assets) -> None:
    assert PopulationSettings().wear == ASSETS
    plainly = draw_person(makehuman, 5, 3, SETTINGS)
    settings = dataclasses.replace(SETTINGS, wear=DRAWN, shares=WearShares(beanie=0.4))
    drawn = [draw_person(makehuman, 5, head, settings) for head in range(400)]
    assert (plainly.wear, plainly.shape) == (Wear(), drawn[3].shape)
    worn = [person.wear.head.kind for person in drawn if person.wear.head is not None]
    assert abs(worn.count("beanie") / 400 - 0.4) < 3.0 * np.sqrt(0.24 / 400)
    assert set(worn) <= set(KINDS)
    with pytest.raises(ConfigError, match="together at most 1"):
        WearShares(beanie=0.9, cap=0.2)


def test_settings_of_what_is_not_drawn_decide_nothing() -> None:
    told = deciding(to_plain(PopulationSettings()))
    assert told == deciding(to_plain(PopulationSettings(shares=WearShares(cap=0.5))))
    assert "wear" not in told and "shares" in deciding(to_plain(PopulationSettings(wear=DRAWN)))


def test_pressed_strands_lie_within_the_cover_and_hidden_ones_are_gone() -> None:
    random = np.random.default_rng(2)
    points = random.normal(0.0, 0.25, (300, 12, 3)).astype(np.float32)
    points[:5] = [0.0, 0.4, 0.0]  # whole strands under the pole
    strands = Strands("hair", "hair", points, np.full((300, 12), 0.001, np.float32), np.zeros((300, 2, 3), np.float32))
    frame = leaning(0.4, 0.3)
    low, high = np.full(90, -0.2), np.full(90, 0.5 * np.pi)
    radii = np.full((90, 10), 0.2)
    pressed = press(strands, Cover(frame, low, high, radii, flare=0.5), 1)
    assert len(pressed.points) < 300 - 4
    away = pressed.points.reshape(-1, 3) - frame.origin
    elevation = np.arcsin(np.clip(away @ frame.axes[1] / np.linalg.norm(away, axis=1), -1.0, 1.0))
    limit = 0.2 * (1.0 + 0.5 * np.clip(-0.2 - elevation, 0.0, None))
    assert (np.linalg.norm(away, axis=1) <= limit + 1e-5).all()
    assert np.linalg.norm(away, axis=1).max() > 0.2


class Noted(HeadWear):
    """Head-wear that notes which of its numbers are read."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        Noted.read.add(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_head_wear_lies_outside_of_the_head_and_every_number_that_is_drawn_counts(surface: Surface, kind: str) -> None:
    Noted.read.clear()
    for seed in range(3):
        drawn = dataclasses.replace(draw_head_wear(kind, np.random.default_rng(seed)), option=seed % KINDS[kind].options)
        made, covers = MAKERS[kind](surface.field, Noted(**vars(drawn)), 0.0)
        points = np.vstack([garment.points for garment in made])
        outside: Floats = surface.field.at(points[points[:, 1] > -0.2])  # cloth on shoulders ends beneath what it lies on
        assert np.isfinite(outside).all() and np.quantile(outside, 0.02) > -0.01
        cover = covers[0]
        share = np.linspace(0.0, 1.0, cover.radii.shape[1])
        elevation = cover.low[:, None] + (cover.high - cover.low)[:, None] * share
        azimuth = np.linspace(0.0, 2.0 * np.pi, len(cover.low), endpoint=False)[:, None]
        inside = cover.frame.place(azimuth, elevation, cover.radii).reshape(-1, 3)
        near = (np.linalg.norm(inside, axis=1) < 0.5) & (inside[:, 1] > -0.1)
        assert 0.0 < np.quantile(surface.field.at(inside[near]), 0.02) < 0.01
    assert set(KINDS[kind].drawn) <= Noted.read


def open_edges(garment: Garment) -> int:
    """How many edges of a mesh have no other face: none where it is closed."""
    _, merged = np.unique(np.round(garment.points, 9), axis=0, return_inverse=True)
    faces = merged.reshape(-1)[garment.faces]
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    sides = sides[sides[:, 0] != sides[:, 1]]  # triangles at poles have sides without a length
    return int((np.unique(sides, axis=0, return_counts=True)[1] % 2).sum())


def test_pompoms_are_closed_and_a_string_of_pearls_is_one_closed_mesh_of_balls_that_touch(surface: Surface) -> None:
    head = dataclasses.replace(draw_head_wear("beanie", np.random.default_rng(1)), option=2)
    assert open_edges(next(part for part in MAKERS["beanie"](surface.field, head, 0.0)[0] if part.name == "pompom")) == 0
    (pearls,) = dress(Wear(neck=Accessory("pearls", size=1.2)), surface, None).garments
    assert open_edges(pearls) == 0
    one = ball("pearl", "necklace", "frame", np.zeros(3), 1.0, plain((1.0, 1.0, 1.0)), 8)
    middles = pearls.points.reshape(-1, len(one.points), 3).mean(axis=1)
    away = np.linalg.norm(middles - np.roll(middles, 1, axis=0), axis=1)
    width = 2.0 * np.linalg.norm(pearls.points[: len(one.points)] - middles[0], axis=1).max()
    assert len(middles) >= 40 and abs(np.median(away) / width - 1.0) < 0.1


def test_a_helmets_stripe_runs_from_the_front_over_the_top_to_the_back(surface: Surface) -> None:
    fabric = Fabric("plain", (0.1, 0.2, 0.3), (0.9, 0.1, 0.1))
    shell = helmet(surface.field, HeadWear("helmet", fabric, edge=2.0, lean=14.0, option=1, seed=3), 0.0)[0][0]
    height, width = shell.texture.shape[:2]
    columns, rows = np.minimum(shell.uvs * [width, height], [width - 1, height - 1]).astype(int).T
    corner = np.zeros((len(shell.points), 3))
    corner[shell.faces.ravel()] = shell.texture[rows, columns, :3][shell.face_uvs.ravel()]
    red = corner[:, 0] > 200
    side, up, front = (shell.points - np.array(CENTRE)).T
    assert np.abs(side[red]).max() < 0.07
    middle = (np.abs(side) < 0.01) & (up > 0.05)
    assert red[middle].all() and (front[middle] > 0.1).any() and (front[middle] < -0.1).any()


WORST = {"headphones": "short", "hairband": "bun"}
"""Kind -> hair that is to stay beneath it; hair may hang over cups and from behind a hoop."""


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_no_strand_comes_through_head_wear(makehuman: Assets, kind: str) -> None:
    style = WORST.get(kind, ("afro", "long", "bun")[sorted(MAKERS).index(kind) % 3])
    no_strand_comes_through(makehuman, kind, style)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["afro", "long", "bun", "curls", "mohawk", "locs"])
@pytest.mark.parametrize("kind", sorted(set(MAKERS) - set(WORST)))
def test_no_strand_of_any_hair_comes_through_head_wear(makehuman: Assets, kind: str, style: str) -> None:
    no_strand_comes_through(makehuman, kind, style)


def no_strand_comes_through(assets: Assets, kind: str, style: str) -> None:
    figure = dressed(assets, kind, style)
    bare = dataclasses.replace(figure, strands=())
    sides = {"hood": (2.4, -2.4), "hijab": (2.4, -2.4), "headphones": (1.5, -1.5)}
    for yaw in sides.get(kind, (0.3, 2.4)):  # from where no hair lies between the camera and the inside or far side
        camera = Camera.look_at(yaw, 0.65, 0.0)
        worn, alone = (look(Drawing(some), camera, 72).parsing == INDEX["hat"] for some in (figure, bare))
        assert alone.sum() > 40
        assert not (ndimage.binary_erosion(alone, iterations=3) & ~worn).any()


def wearing(assets: Assets, wear: Wear, beard: str = "") -> Figure:
    """A bald person who wears something."""
    person = dataclasses.replace(draw_person(assets, 3, 0, SETTINGS), expression={}, scalp="bare", wear=wear)
    grown = draw_beard(0.3, (0.2, 0.1, 0.1), np.random.default_rng(1), beard) if beard else None
    return build_figure(assets, dataclasses.replace(person, growth=Growth(None, grown)))


@pytest.mark.parametrize("kind", EARRINGS)
def test_earrings_hang_at_the_ears_and_one_alone_at_its_own(makehuman: Assets, kind: str) -> None:
    both = wearing(makehuman, Wear(ears=Accessory(kind, size=1.2)))
    left = wearing(makehuman, Wear(ears=Accessory(kind, size=1.2, option=1)))
    for yaw, name in ((1.2, "left_ear"), (-1.2, "right_ear")):
        parsing = classes(both, yaw)
        rows, columns = np.nonzero(parsing == INDEX["earring"])
        ear = np.argwhere(parsing == INDEX[name])
        assert len(rows) >= 3
        assert np.abs(columns - ear[:, 1].mean()).max() < 16 and (rows > ear[:, 0].mean()).all()
        assert (classes(left, yaw) == INDEX["earring"]).any() == (name == "left_ear")


@pytest.mark.parametrize("option", [0, 1, 2])
def test_a_mask_covers_nose_mouth_and_beard_and_leaves_the_eyes(makehuman: Assets, option: int) -> None:
    figure = wearing(makehuman, Wear(mask=Accessory("mask", option=option)), "short")
    camera = Camera.look_at(0.0, 0.0, 0.0)
    seen = look(Drawing(figure), camera, 128)
    points = np.floor(camera.project(figure.face_points)[0] * 128).astype(int)
    for index in (1, 4, 13, 14, 61, 291, 17):  # tip of the nose, lips and corners of the mouth
        assert seen.parsing[points[index, 1], points[index, 0]] == INDEX["cloth"]
    assert {INDEX["left_eye"], INDEX["right_eye"]} <= set(np.unique(seen.parsing))
    assert not {INDEX["upper_lip"], INDEX["lower_lip"], INDEX["mouth"]} & set(np.unique(seen.parsing))


@pytest.mark.parametrize("kind", [*NECKLACES, "scarf", "collar"])
def test_what_lies_around_the_neck_is_outside_of_it(makehuman: Assets, surface: Surface, kind: str) -> None:
    outfit = dress(Wear(neck=Accessory(kind)), surface, None)
    points = np.vstack([garment.points for garment in outfit.garments])
    outside: Floats = surface.field.at(points[(points > np.array(LOW)).all(axis=1)])
    assert np.median(outside) > 0.0 and np.isfinite(points).all()
    assert {garment.label for garment in outfit.garments} == {"cloth" if kind in ("scarf", "collar") else "necklace"}


def test_no_two_of_2000_people_share_style_colour_and_accessories(makehuman: Assets) -> None:
    settings = dataclasses.replace(SETTINGS, wear=DRAWN, glasses=0.22)
    told = [discrete(draw_person(makehuman, 11, head, settings)) for head in range(2000)]
    assert len(set(told)) == 2000
    worn = [kind for person in told for kind in person[-1]]
    assert set(worn) == {*KINDS, *EARRINGS, *NECKLACES, *CLIPS, "scarf", "collar", "mask"}


def discrete(person: Person) -> tuple[object, ...]:
    """What a stranger would name of somebody: kinds, colours in steps of a sixteenth, lengths in steps of 4 cm."""
    hair = person.growth.hair if person.growth else None
    beard = person.growth.beard if person.growth else None
    wear = person.wear

    def named(colour: tuple[float, float, float]) -> tuple[int, ...]:
        return tuple(int(16.0 * value) for value in colour)

    glasses = person.glasses and (person.glasses.shape, person.glasses.rim, named(person.glasses.frame))
    head = wear.head and (wear.head.kind, wear.head.option, wear.head.fabric.pattern, named(wear.head.fabric.colour))
    return (
        hair and (hair.style, named(hair.colour), round(hair.top / 4.0)), beard and beard.style, person.skins[0][0],
        person.clothes, named(person.clothes_look.colour), glasses, head, wear.things,
    )  # fmt: skip


def test_path_tracing_shows_what_the_labels_say_is_worn(makehuman: Assets) -> None:
    """Alpha and colour of Mitsuba's picture where the exact pass sees an orange helmet."""
    pytest.importorskip("mitsuba")
    head = dataclasses.replace(draw_head_wear("helmet", np.random.default_rng(2)), option=1, seed=1)
    orange = dataclasses.replace(head, fabric=dataclasses.replace(head.fabric, colour=(0.9, 0.35, 0.05)))
    figure = wearing(makehuman, Wear(orange, Accessory("hoops"), Accessory("pearls"), Accessory("mask")))
    camera, size = Camera.look_at(0.6, 0.1, 0.0), 64
    seen = look(Drawing(figure), camera, size)
    light = draw_light(np.random.default_rng(3), True)
    picture = Studio(figure).photograph(camera, light, size, 4, 1)
    solid = picture[..., 3] > 0.5
    assert (solid == (seen.mask >= 128)).mean() > 0.985
    inside = ndimage.binary_erosion(seen.parsing == INDEX["hat"], iterations=2)
    red, green, blue = np.median(picture[inside][:, :3], axis=0)
    assert inside.sum() > 100 and red > 1.5 * green > 1.5 * blue


def test_a_mask_ends_at_the_chin_above_wide_collars_too(makehuman: Assets) -> None:
    """On this person single points of the mask lay on the clothes, 15 cm before the neck."""
    person = draw_person(makehuman, 1, 34, dataclasses.replace(SETTINGS, wear=DRAWN))
    figure = build_figure(makehuman, dataclasses.replace(person, wear=Wear(mask=Accessory("mask"))))
    worn = next(part for part in figure.parts if part.name == "mask")
    assert np.linalg.norm(worn.points - np.array(FACE), axis=1).max() < 0.30
    sides = [np.linalg.norm(worn.points[worn.faces[:, k]] - worn.points[worn.faces[:, k - 1]], axis=1) for k in range(3)]
    assert np.max(sides) < 0.06


def test_clips_lie_on_the_hair_are_of_its_class_and_fall_off_bald_heads() -> None:
    turn = np.linspace(0.0, 2.0 * np.pi, 900, endpoint=False)
    rise = np.linspace(-0.5, 1.5, 48)
    shell = np.array(CENTRE) + 0.25 * direction(turn[:, None], rise[None])  # hair that lies at one distance
    hair = Strands(
        "hair", "hair", shell.astype(np.float32), np.full((900, 48), 1e-3, np.float32), np.zeros((900, 2, 3), np.float32)
    )
    for kind in CLIPS:
        for option, side in ((0, 1.0), (1, -1.0)):
            made = clips(Accessory(kind, option=option), [hair])
            points = np.vstack([garment.points for garment in made])
            assert {garment.label for garment in made} == {"hair"}
            far = np.linalg.norm(points - np.array(CENTRE), axis=1) - 0.25
            assert far.min() > -0.02 and far.max() < 0.09 and far.mean() > 0.0
            assert side * points[:, 0].mean() > (0.0 if kind == "bow" else 0.1)
        assert clips(Accessory(kind), []) == [] and clips(Accessory(kind), [dataclasses.replace(hair, kind="beard")]) == []


def test_clips_are_drawn_for_hair_that_can_hold_them_and_change_nothing_else(makehuman: Assets) -> None:
    every, none = (dataclasses.replace(SETTINGS, wear=DRAWN, shares=WearShares(clips=share)) for share in (1.0, 0.0))
    drawn, plainly = ([draw_person(makehuman, 11, head, some) for head in range(40)] for some in (every, none))
    bare = [dataclasses.replace(person, wear=dataclasses.replace(person.wear, clip=None)) for person in drawn]
    assert bare == plainly
    clipped = [person for person in drawn if person.wear.clip is not None]
    assert len(clipped) >= 5
    for person in clipped:
        assert person.growth is not None and person.growth.hair is not None and person.male < 0.5
        assert person.growth.hair.top >= 9.0 or person.growth.hair.tie
