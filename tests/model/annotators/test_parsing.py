"""The parser's task: crops of any size with the same labels, warm starts, and numbers by plain counting."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import CLASSES, INDEX
from spherehead.datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from spherehead.datasets.shards.tar import write_shard
from spherehead.model.annotators.checkpoint import CHECKPOINT, load_average, save
from spherehead.model.annotators.evaluation import ious, shared
from spherehead.model.annotators.networks import CROP, HeadNet, ParserNet
from spherehead.model.annotators.parsing import (
    ALIGNED,
    ParserTask,
    calm_parser,
    evaluate_parser,
    parser_settings,
    small_pictures,
)
from spherehead.model.annotators.shown import relighting
from spherehead.model.annotators.shown.augmentation import CropGeometry, CropSettings, make_crop, unspeckled
from spherehead.model.annotators.shown.views import View, Views
from spherehead.model.annotators.tasks import HeadTask
from spherehead.model.annotators.training import TrainingSettings, start

SIZE = 96


def view_of(number: int) -> View:
    """A ball with hair above and skin below, glasses on it and a neck, seen from somewhere."""
    random = np.random.default_rng(number)
    parsing = np.zeros((SIZE, SIZE), dtype=np.uint8)
    cv2.rectangle(parsing, (38, 60), (58, 95), INDEX["neck"], -1)
    cv2.circle(parsing, (48, 48), 27, INDEX["skin"], -1)
    parsing[:38][parsing[:38] > 0] = INDEX["hair"]
    cv2.rectangle(parsing, (32, 46), (64, 54), INDEX["glasses"], -1)
    image = random.integers(40, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    mask = np.where(parsing > 0, np.uint8(255), np.uint8(0))
    normals = np.broadcast_to(np.array([0.0, 0.0, 1.0], dtype=np.float32), (SIZE, SIZE, 3)).copy()
    camera = Camera.look_at(float(random.uniform(-3, 3)), 0.1)
    return View(image, mask, parsing, camera, normals, random.normal(0.0, 0.1, (68, 3)))


def members(number: int) -> dict[str, bytes]:
    view = view_of(number)
    assert view.normals is not None and view.points is not None
    return {
        "png": encode_image(view.image, Encoding("png")),
        "normal.jpg": encode_image(np.asarray(127.5 * (view.normals + 1.0), dtype=np.uint8), Encoding("jpg", 95)),
        "mask.png": encode_grey(view.mask), "seg.png": encode_grey(view.parsing), "cam.json": camera_json(view.camera),
        "points.json": json.dumps(view.points.tolist()).encode(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    folder = tmp_path_factory.mktemp("parser-views")
    write_shard(folder / "a.tar", "train", [(f"view-{number}", members(number)) for number in range(6)])
    return Views([folder])


def test_a_folder_gives_at_most_each_views(views: Views, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_shard(tmp_path / name / f"{name}.tar", "train", [(f"{name}-{number}", members(number)) for number in range(3)])
    assert Views([tmp_path / "a", tmp_path / "b"], each=2).keys == ["a-0", "a-1", "b-0", "b-1"]
    assert Views([tmp_path / "a", tmp_path / "b"], limit=3, each=2).keys == ["a-0", "a-1", "b-0"]


LAST_DRAWS = {0: 0.5689263076093705, 1: 0.1429502394616463, 2: 0.916724443755622, 3: 0.6965493626078775}
"""What each generator gave next after `make_crop` at c5fb4ed, before crops had a size and shares of their own."""


@pytest.mark.parametrize("seed", LAST_DRAWS)
def test_the_head_tasks_crops_draw_what_they_drew_before(seed: int) -> None:
    random = np.random.default_rng(seed)
    make_crop(random, view_of(1), view_of(2), CropSettings(occluders=1.0))
    assert random.random() == LAST_DRAWS[seed]


@settings(max_examples=30, deadline=None)
@given(
    roll=st.floats(-3.1, 3.1), scale=st.floats(0.6, 1.3), x=st.floats(-0.2, 0.2), mirror=st.booleans(),
    size=st.sampled_from([96, 160, 256]),
)  # fmt: skip
def test_a_crop_of_another_size_is_the_same_crop(roll: float, scale: float, x: float, mirror: bool, size: int) -> None:
    geometry, view = CropGeometry(mirror, roll, scale, (x, 0.02)), view_of(0)
    larger = np.diag([size / CROP, size / CROP, 1.0])
    assert np.abs(larger @ geometry.matrix(view, CROP) - geometry.matrix(view, size)).max() < 1e-9
    assert np.abs(size / CROP * geometry.points(view, CROP) - geometry.points(view, size)).max() < 1e-6


def test_maps_of_a_crop_have_half_its_size_and_cover_what_the_mask_covers() -> None:
    crop = make_crop(np.random.default_rng(4), view_of(0), None, CropSettings(occluders=0.0, size=192, stubble=False))
    assert crop.image.shape == (192, 192, 3) and crop.classes.shape == crop.alpha.shape == (96, 96)
    assert np.array_equal(crop.alpha > 0.5, crop.classes > 0) or np.mean((crop.alpha > 0.5) != (crop.classes > 0)) < 0.03


def test_stubble_counts_to_the_skin_around_it_and_straight_borders_stay() -> None:
    parsing = np.full((128, 128), INDEX["skin"], dtype=np.uint8)
    parsing[:50] = INDEX["hair"]
    clean = parsing.copy()
    parsing[80:100:3, 20:100:3] = INDEX["hair"]
    parsing[10:30:4, 20:100:4] = INDEX["skin"]
    assert np.array_equal(unspeckled(parsing), clean) and np.array_equal(unspeckled(clean), clean)


def test_skin_that_a_fade_shows_keeps_its_colour_when_hair_is_dyed() -> None:
    parsing = np.full((64, 64), INDEX["skin"], dtype=np.uint8)
    parsing[:40] = INDEX["hair"]
    colour = np.full((64, 64, 3), (0.5, 0.3, 0.2), dtype=np.float32)
    colour[:24] = (0.02, 0.015, 0.012)  # hair above, skin of class hair below it
    shown = relighting.shown_hair(colour, parsing)
    assert (shown[:24] == 1.0).all() and (shown[24:] == 0.0).all()
    locks = relighting.strands(np.random.default_rng(2), colour, parsing)
    assert np.array_equal(locks[24:], colour[24:]) and not np.allclose(locks[:24], colour[:24], rtol=0.05)
    colour[:24] = (0.45, 0.28, 0.2)  # blond: nearly the colour of skin, so that all hair counts
    assert np.array_equal(relighting.shown_hair(colour, parsing), (parsing == INDEX["hair"]).astype(np.float32))


def test_shadows_only_darken_and_glints_stay_on_the_glasses() -> None:
    view = view_of(0)
    image, glasses = view.image.astype(np.float32), view.parsing == INDEX["glasses"]
    near = cv2.dilate(glasses.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    darker, brighter = 0, 0
    for seed in range(10):
        shade = relighting.shadowed(np.random.default_rng(seed), image, view.parsing)
        assert (shade <= image + 1e-3).all() and (shade >= 0.0).all()
        darker += bool((shade < image - 5.0).any())
        glint = relighting.glinting(np.random.default_rng(seed), image, view.parsing, image)
        assert np.array_equal(glint[~near], image[~near])
        brighter += bool((glint != image).any())
    assert darker >= 6 and brighter >= 6


def test_a_ground_alike_has_the_mean_colour_of_a_part_of_the_head() -> None:
    view, ground = view_of(0), np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    image = np.where((view.parsing == INDEX["hair"])[..., None], np.float32(40), np.float32(200)) * np.ones(3, dtype=np.float32)
    means = [float(relighting.alike(np.random.default_rng(seed), ground, image, view.parsing).mean()) for seed in range(12)]
    assert all(20 < mean < 80 or 100 < mean < 330 for mean in means) and min(means) < 80 < max(means)


def test_a_parser_starts_with_the_maps_of_the_head_network(views: Views, tmp_path: Path) -> None:
    save(tmp_path / "head", "head", start(HeadTask(views), TrainingSettings()))
    head = HeadNet()
    load_average(tmp_path / "head" / CHECKPOINT, head)
    network = ParserTask(views, start=str(tmp_path / "head")).network()
    picture = torch.randn(1, 3, CROP, CROP, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        classes, cover, beard = network.eval()(picture)
        maps = head.eval().raw(picture)[1]
    assert torch.equal(torch.cat([classes, cover[:, None]], dim=1), maps)
    assert (beard == -4.0).all()  # until it learns, hardly any hair is beard
    settings = parser_settings(TrainingSettings(16))
    save(tmp_path / "parser", "parser", start(ParserTask(views, start=str(tmp_path / "head")), settings))
    again = ParserTask(views, start=str(tmp_path / "parser")).network().state_dict()
    kept = ParserNet()
    load_average(tmp_path / "parser" / CHECKPOINT, kept)
    assert all(torch.equal(again[name], value) for name, value in kept.state_dict().items())


def test_first_pictures_are_small_and_whole_batches(views: Views) -> None:
    assert small_pictures(26_000) % TrainingSettings().batch == 0 and 0.55 < small_pictures(26_000) / 26_000 < 0.65
    task = ParserTask(views, small=2, small_size=64, crops=CropSettings(size=96))
    for numbers, side in (([0, 1], 64), ([2, 3], 96), ([1, 2], 96)):
        pictures, truth = task.batch(numbers)
        assert pictures.shape == (2, 3, side, side)
        assert truth["classes"].shape == truth["alpha"].shape == (2, side // 2, side // 2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_overlaps_are_those_of_counting(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.integers(0, len(CLASSES), (2, 12, 9)).astype(np.uint8)
    overlap, union = shared(first, second)
    for kind in range(len(CLASSES)):
        assert overlap[kind] == np.count_nonzero((first == kind) & (second == kind))
        assert union[kind] == np.count_nonzero((first == kind) | (second == kind))
    assert ious(*shared(first, first))["mean_iou"] == 1.0


def test_a_parser_that_says_the_truth_has_full_marks(views: Views) -> None:
    task = calm_parser(ParserTask(views, crops=CropSettings(size=64)))
    assert task.crops.size == 64 and task.crops.shadows == 0.0 and ALIGNED.shadows > 0.0
    truths = [task.batch([number])[1] for number in range(4)]

    class Truth(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.number = 0

        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            truth = truths[self.number]
            self.number += 1
            logits = 9.0 * torch.nn.functional.one_hot(truth["classes"], len(CLASSES)).permute(0, 3, 1, 2).float()
            return logits, torch.logit(truth["alpha"], eps=1e-6), 9.0 * truth["beard"]

    found = evaluate_parser(Truth(), task, 4, batch=1)
    assert found["all"]["mean_iou"] == 1.0 and found["all"]["num"] == 4 and found["alpha_soft_error"] < 1e-3
    assert sum(found[name]["num"] for name in ("front", "side", "behind") if name in found) == 4
