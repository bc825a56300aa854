"""Copies are labelled to the point, warped once from the photograph, and the same whoever makes them in whatever order."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from spherehead.datasets import warp
from spherehead.datasets.camera import Camera, canonical_to_world
from spherehead.datasets.canonical_face import canonical_vertices
from spherehead.datasets.classes import INDEX
from spherehead.datasets.sample import Crop, Drop, Photo, Sample
from spherehead.manifests.config import ConfigError, from_plain, override
from spherehead.manifests.identity import derived_id, rng
from spherehead.pipeline.annotators.mattes import matting
from spherehead.pipeline.backends.photometry import Blur, Compression, Darkroom, Noise, Photometry, Tint, Tone
from spherehead.pipeline.stages.augment import Augment, Moves, backdrop_of, move
from spherehead.pipeline.stages.geometry import Geometry

OFF = Photometry(tone=Tone(chance=0.0))
EVERYTHING = Photometry(Tone(1.0), Tint(1.0), Blur(1.0), Noise(1.0), Compression(1.0))
FREE = Moves(zoom=1.2, shift=0.08, aspect=1.1, shear_degrees=5.0, perspective=0.15)


@pytest.fixture
def sample(astronaut) -> Sample:
    """The astronaut's head, cut out by hand, with maps and points that are made up but consistent with the camera."""
    camera, size = Camera.look_at(0.05, 0.12), 256
    matrix = warp.similarity(1.45, 0.03, np.array([224.0, 118.0]), np.array([128.0, 128.0]))
    photo = Photo.of_pixels(astronaut, sha256="a" * 64)
    mask = np.zeros((size, size), dtype=np.uint8)
    mask[40:, 60:200] = 255
    parsing = np.where(mask > 0, INDEX["hair"], 0).astype(np.uint8)
    parsing[100:120, 80:100], parsing[100:120, 150:170] = INDEX["right_eye"], INDEX["left_eye"]
    mesh = np.column_stack([size * camera.project(canonical_to_world(canonical_vertices()))[0], np.zeros(468)])
    return Sample(
        id="0123456789abcdef",
        photo=photo,
        crop=Crop(matrix, size, 0.0, 1.45),
        image=warp.warp(astronaut, matrix, size),
        padding=np.zeros((size, size), dtype=np.uint8),
        mask=mask,
        parsing=parsing,
        mesh=mesh.astype(np.float32),
        landmarks=mesh[:68, :2].astype(np.float32),
        camera=camera,
        notes={"phash": "0" * 16},
    )


def run(stage, sample, seed=0):
    return list(stage.open().one(sample, rng(seed, sample.id, stage.name)))


def same(first: Sample, second: Sample) -> bool:
    arrays = ("image", "mask", "parsing", "padding", "mesh", "landmarks")
    return (
        (first.id, first.parent, first.derivation) == (second.id, second.parent, second.derivation)
        and all(np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays)
        and np.array_equal(first.camera.label(), second.camera.label())
    )


@pytest.mark.parametrize("policy", ["canonical", "free-k"])
def test_points_of_every_copy_lie_where_its_label_projects_them(sample, policy):
    stage = Augment(copies=12, policy=policy, moves=FREE if policy == "free-k" else Moves(roll_degrees=30.0), photometry=OFF)
    original, *copies = run(stage, sample)
    assert original is sample and len(copies) == 12
    for copy in copies:
        copy.camera.check(free_k=policy == "free-k")
        seen = 256 * copy.camera.project(canonical_to_world(canonical_vertices()))[0]
        assert np.abs(copy.mesh[:, :2] - seen).max() < 0.05
    mirrored = [json.loads(copy.derivation)["geometry"]["mirror"] for copy in copies]
    assert any(mirrored) and not all(mirrored)


def test_pixels_are_warped_once_from_the_photograph(sample):
    geometry = Geometry(roll=0.2, zoom=1.3)
    copy = move(sample, geometry)
    picture, _ = Augment(policy="free-k", photometry=OFF).picture(copy, 0, None)
    once = warp.warp(sample.photo.pixels, geometry.pixel_matrix(256) @ sample.crop.matrix, 256)
    np.testing.assert_array_equal(picture, once)
    assert copy.crop.upscale == pytest.approx(1.3 * 1.45, rel=1e-3) == copy.scores["upscale"]
    twice = warp.warp(sample.image, geometry.pixel_matrix(256), 256)
    assert np.abs(twice.astype(int) - once)[60:-60, 60:-60].mean() > 0.2


def test_a_copy_that_changes_nothing_is_its_parent(sample):
    (copy,) = run(Augment(keep_original=False, moves=Moves(mirror=0.0, roll_degrees=0.0), photometry=OFF), sample)
    for name in ("image", "mask", "parsing", "padding"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(sample, name))
    np.testing.assert_array_equal(copy.camera.label(), sample.camera.label())


def test_mirroring_flips_every_map_and_swaps_sides(sample):
    sample = sample.with_(beard=np.where(np.arange(256) > 150, sample.mask, 0).astype(np.uint8))
    (copy,) = run(Augment(keep_original=False, moves=Moves(mirror=1.0, roll_degrees=0.0), photometry=OFF), sample)
    off = np.abs(copy.image.astype(int) - sample.image[:, ::-1])  # OpenCV rounds places to 1/32 pixel
    assert off.max() <= 8 and off.mean() < 0.2
    np.testing.assert_array_equal(copy.mask, sample.mask[:, ::-1])
    np.testing.assert_array_equal(copy.beard, sample.beard[:, ::-1])
    assert (copy.parsing[105:115, 90:100] == INDEX["right_eye"]).all()
    assert (copy.parsing[105:115, 160:170] == INDEX["left_eye"]).all()
    assert copy.camera.yaw == pytest.approx(-sample.camera.yaw)


def test_scores_that_labels_tell_are_those_of_the_copys_own_labels(sample):
    parsing = sample.parsing.copy()
    parsing[60:80, 80:100] = INDEX["left_ear"]
    told = {"yaw_degrees": np.degrees(0.05), "pitch_degrees": np.degrees(0.12), "roll_degrees": 0.0, "matte_share": 0.4615,
            "area_left_ear": 0.006104, "area_right_ear": 0.0, "blur_px": 0.7, "head_padding": 0.0}  # fmt: skip
    sample = sample.with_(parsing=parsing, scores=told)
    moves = Moves(mirror=1.0, roll_degrees=30.0)
    (copy,) = run(Augment(keep_original=False, moves=moves, photometry=OFF), sample)
    roll = np.degrees(json.loads(copy.derivation)["geometry"]["roll"])
    angles = [copy.scores[f"{name}_degrees"] for name in ("yaw", "pitch", "roll")]
    np.testing.assert_allclose(angles, [-told["yaw_degrees"], told["pitch_degrees"], roll], atol=1e-4)
    assert copy.scores["matte_share"] == pytest.approx(np.mean(copy.mask >= 128), abs=1e-6)
    assert copy.scores["area_left_ear"] == 0.0 and copy.scores["area_right_ear"] == pytest.approx(0.0061, abs=3e-4)
    assert copy.scores["blur_px"] == told["blur_px"] and set(copy.scores) == {*told, "pad_ratio", "upscale"}


def test_a_matte_of_a_disc_turns_and_grows_with_the_picture(sample):
    y, x = np.mgrid[0:256, 0:256] + 0.5
    disc = ((x - 150) ** 2 + (y - 110) ** 2 < 40**2).astype(np.uint8) * 255
    geometry = Geometry(roll=0.5, zoom=1.2)
    moved = move(sample.with_(mask=disc, parsing=(disc > 0) * np.uint8(INDEX["nose"])), geometry)
    centre = warp.apply(geometry.pixel_matrix(256), np.array([150.0, 110.0]))
    for found in (moved.mask > 127, moved.parsing == INDEX["nose"]):
        assert np.abs([x[found].mean() - centre[0], y[found].mean() - centre[1]]).max() < 0.1
        assert found.sum() == pytest.approx(np.pi * 48**2, rel=0.01)


def test_what_the_photograph_does_not_show_is_padding_and_no_head(sample):
    moved = move(sample, Geometry(shift=(0.0, 0.4)))
    rows = np.flatnonzero((moved.padding > 0).all(axis=1))
    assert rows.size > 20 and rows[0] == 0
    assert moved.crop.pad_ratio == pytest.approx((moved.padding > 0).mean(), abs=1e-6) == moved.scores["pad_ratio"]
    assert not moved.mask[moved.padding > 0].any() and not moved.parsing[moved.padding > 0].any()


def test_beside_the_crop_shoulders_go_on_and_a_cut_head_does_not(sample):
    shifts = {"up": (0.0, -0.1), "down": (0.0, 0.1), "left": (-0.1, 0.0), "right": (0.1, 0.0)}
    whole = np.full((256, 256), 255, dtype=np.uint8)
    photo = Photo.of_pixels(np.zeros((900, 900, 3), dtype=np.uint8))
    inside = sample.with_(photo=photo, crop=Crop(warp.similarity(1.0, 0.0, [450, 450], [128, 128]), 256, 0.0, 1.0))
    moved = {name: move(inside.with_(mask=whole), Geometry(shift=shift)).mask > 127 for name, shift in shifts.items()}
    assert moved["up"].all()
    assert not moved["down"][:25].any() and moved["down"][27:].all()
    for name, new in (("left", slice(231, 256)), ("right", slice(0, 25))):
        assert not moved[name][:190, new].any() and moved[name][194:, new].all()


def test_copies_do_not_depend_on_what_was_done_before_nor_on_how_many_there_are(sample):
    stage = Augment(copies=3, photometry=EVERYTHING)
    opened = stage.open()
    other = dataclasses.replace(sample, id="f" * 16)
    list(opened.one(other, rng(0, other.id, "augment")))
    late = list(opened.one(sample, rng(0, sample.id, "augment")))
    fresh = run(stage, sample)
    more = run(dataclasses.replace(stage, copies=5), sample)
    assert all(same(a, b) for a, b in zip(late, fresh, strict=True))
    assert all(same(a, b) for a, b in zip(fresh, more, strict=False))
    assert not np.array_equal(fresh[1].image, fresh[2].image)
    assert not same(run(stage, sample, seed=1)[1], fresh[1])


def test_global_random_state_is_neither_read_nor_moved(sample):
    stage = Augment(photometry=EVERYTHING)
    first = run(stage, sample)[1]
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    assert same(run(stage, sample)[1], first)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_copies_name_their_parent_and_their_seed(sample):
    copies = run(Augment(copies=2, photometry=EVERYTHING), sample)[1:]
    for number, copy in enumerate(copies):
        told = json.loads(copy.derivation)
        assert copy.id == derived_id(sample.id, "augment", number) and copy.parent == sample.id
        assert (told["step"], told["copy"], told["policy"]) == ("augment", number, "canonical")
        assert [step["op"] for step in told["photometry"]] == [
            "RandomBrightnessContrast", "RandomGamma", "HueSaturationValue", "GaussianBlur", "GaussNoise", "ImageCompression",
        ]  # fmt: skip
        assert 60 <= told["photometry"][-1]["quality"] <= 95
        assert copy.notes["phash"] == sample.notes["phash"]


def test_a_picture_is_drawn_again_from_its_derivation(sample):
    stage = Augment(copies=2, photometry=EVERYTHING)
    original, *copies = run(stage, sample.with_(notes={"composite": "white"}, image=np.full_like(sample.image, 255)))
    for copy in copies:
        stale = copy.with_(image=original.image, padding=None)
        assert same(stage.remake(stale), copy)
    assert stage.remake(original) is original


def test_a_head_laid_on_a_colour_stays_on_it(sample):
    laid = sample.with_(
        image=matting.composite(sample.image, sample.mask, np.array([10.0, 200.0, 30.0])), notes={"composite": "mean"}
    )
    assert backdrop_of(laid) == (10, 200, 30) and backdrop_of(sample) is None
    for copy in run(Augment(copies=3, keep_original=False), laid):
        behind = copy.mask == 0
        assert behind.sum() > 1000 and (copy.image[behind] == (10, 200, 30)).all()
        assert (copy.image[copy.mask == 255] != (10, 200, 30)).any(axis=1).mean() > 0.99


@pytest.mark.parametrize("part", ["tone", "tint", "blur", "noise", "jpeg"])
def test_each_photometric_change_can_be_had_alone_and_keeps_pixels_in_place(part, sample):
    only = dataclasses.replace(OFF, **{part: dataclasses.replace(getattr(OFF, part), chance=1.0)})
    picture, steps = Darkroom(only).develop(sample.image, 5)
    assert steps and picture.shape == sample.image.shape and picture.dtype == np.uint8
    assert 0 < np.abs(picture.astype(int) - sample.image).mean() < 25
    first, second = (p.mean(axis=2) - p.mean() for p in (picture[8:-8, 8:-8], sample.image[8:-8, 8:-8]))
    assert (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()) > 0.97


def test_a_blur_of_no_width_leaves_the_picture_as_it_is(sample):
    developed, steps = Darkroom(Photometry(Tone(0.0), blur=Blur(1.0, 0.0, 0.0))).develop(sample.image, 3)
    assert np.array_equal(developed, sample.image) and not steps


@pytest.mark.parametrize("settings", [{"noise": Noise(1.0, 0.0, 5.0)}, {"tint": Tint(1.0, hue_degrees=400.0)},
                                      {"tint": Tint(1.0, saturation=-0.1)}, {"noise": Noise(1.0, -0.1)}])  # fmt: skip
def test_changes_of_light_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match=r"expected .*, got"):
        Photometry(**settings)


def test_chances_hold_over_many_copies(sample):
    small = sample.with_(
        crop=Crop(np.diag([0.06, 0.06, 1.0]), 32, 0.0, 0.06), mask=None, parsing=None, mesh=None, landmarks=None
    )
    copies = run(Augment(copies=300, keep_original=False, moves=Moves(mirror=0.3), photometry=OFF), small)
    drawn = [json.loads(copy.derivation)["geometry"] for copy in copies]
    assert abs(np.mean([g["mirror"] for g in drawn]) - 0.3) < 0.1
    rolls = np.degrees([g["roll"] for g in drawn])
    assert np.abs(rolls).max() <= 8 and rolls.min() < -7 and rolls.max() > 7


@pytest.mark.parametrize("name", ["zoom", "shift", "aspect", "shear_degrees", "perspective"])
def test_policy_canonical_refuses_what_would_change_k_and_says_what_to_do(name):
    with pytest.raises(ConfigError, match=f"moves.{name}: policy canonical keeps K.*free-k"):
        from_plain(Augment, {"moves": {name: 1.1 if name in ("zoom", "aspect") else 0.1}})
    with pytest.raises(ConfigError, match="free-k"):
        override(Augment(), [f"moves.{name}={1.1 if name in ('zoom', 'aspect') else 0.1}"])


def test_a_label_outside_the_policy_is_refused(sample):
    zoomed = sample.with_(camera=sample.camera.cropped(0.1, 0.1, 0.8))
    with pytest.raises(Drop, match="camera_invalid: expected canonical intrinsics"):
        run(Augment(photometry=OFF), zoomed)
    assert len(run(Augment(photometry=OFF, policy="free-k"), zoomed)) == 2


@pytest.mark.parametrize(
    "settings",
    [{"copies": -1}, {"copies": 0, "keep_original": False}, {"moves": {"zoom": 0.9}}, {"moves": {"mirror": 2.0}},
     {"moves": {"shift": 0.9}}, {"moves": {"roll_degrees": 200.0}}, {"photometry": {"jpeg": {"low": 0}}},
     {"photometry": {"tone": {"chance": 1.5}}}, {"photometry": {"noise": {"low": 0.5}}}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ConfigError, match="expected"):
        from_plain(Augment, settings)
