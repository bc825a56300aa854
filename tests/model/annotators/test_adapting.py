"""Labels that a teacher gives heads without truth, the look of photographs, and what a fitted network is told by."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from spherehead.commands.retraining import adapted
from spherehead.datasets.camera import Camera, geodesic
from spherehead.datasets.classes import CLASSES, INDEX, LANDMARK_MIRROR
from spherehead.datasets.shards.tar import write_shard
from spherehead.manifests.config import ConfigError
from spherehead.model.annotators.adapting import run
from spherehead.model.annotators.adapting.look import LEAST_VARIANCE, Colours, colour_map, colours_of, measured, recoloured
from spherehead.model.annotators.adapting.loose_heads import FLIP, LooseHead, Placed, view_of
from spherehead.model.annotators.adapting.run import Adapting, Judged, gained, helps
from spherehead.model.annotators.adapting.task import UNTOLD, AdaptTask, InLook
from spherehead.model.annotators.adapting.teacher import GRID, LOOKS, Label, agreed, label_of
from spherehead.model.annotators.networks import CROP, HeadOutput
from spherehead.model.annotators.published import begun
from spherehead.model.annotators.shown.views import Views
from spherehead.pipeline.annotators.heads import files
from spherehead.pipeline.annotators.heads.reader import HeadReader, whole
from torch import Tensor, nn

Balls = Callable[[int], dict[str, bytes]]
SIDE = 288
TRUTH = Placed(Camera.look_at(0.7, -0.2, 0.1).world2cam, np.array([150.0, 139.0]), 128.0)
"""The head frame in the loose picture."""
READ = Placed(Camera.look_at(0.5, 0.0).world2cam, np.array([144.0, 144.0]), 131.0)
"""Where an earlier reading has it: crops are laid about that."""
POINTS = np.random.default_rng(5).uniform(90.0, 200.0, (68, 2))


class Oracle(nn.Module):
    """Says of the looks at a head what is true, from the geometry of each crop."""

    def __init__(self, off: float = 0.0) -> None:
        super().__init__()
        self.off = off

    def forward(self, pictures: Tensor) -> HeadOutput:
        assert len(pictures) == len(LOOKS)
        view = view_of(np.zeros((SIDE, SIDE, 3), dtype=np.uint8), READ)
        rotations, places, points = [], [], []
        classes = torch.zeros(len(LOOKS), len(CLASSES), 64, 64)
        for index, look in enumerate(LOOKS):
            matrix = look.matrix(view, CROP)
            camera = Camera.look_at(0.7, -0.2, 0.1 + self.off * (-1) ** (index // 2))
            mirrored = FLIP @ camera.world2cam @ FLIP if look.mirror else camera.world2cam
            c, s = math.cos(look.roll), math.sin(look.roll)
            rotations.append(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ mirrored)
            x, y = (matrix @ [*TRUTH.centre, 1.0])[:2]
            grown = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))
            places.append([2.0 * x / CROP - 1.0, 2.0 * y / CROP - 1.0, math.log(TRUTH.scale * grown / CROP)])
            there = np.column_stack([POINTS, np.ones(68)]) @ matrix.T
            points.append((2.0 * there[:, :2] / CROP - 1.0)[LANDMARK_MIRROR if look.mirror else slice(None)])
            columns = np.linalg.inv(matrix) @ np.stack([(np.arange(64) + 0.5) * 2, np.full(64, 64.0), np.ones(64)])
            left = torch.from_numpy(columns[0] < TRUTH.centre[0])  # ear classes by halves of the loose picture
            names = ("left_ear", "right_ear") if not look.mirror else ("right_ear", "left_ear")
            classes[index, INDEX[names[0]]] = 9.0 * left.float()[None, :]
            classes[index, INDEX[names[1]]] = 9.0 * (~left).float()[None, :]
        count = len(LOOKS)
        return HeadOutput(
            torch.from_numpy(np.stack(rotations)).float(), torch.zeros(count), torch.tensor(places).float(),
            torch.from_numpy(np.stack(points)).float(), torch.zeros(count, 68), classes, torch.full((count, 64, 64), 2.0),
        )  # fmt: skip


def head(mesh: Placed | None = None, share: float = 0.0) -> LooseHead:
    image = np.random.default_rng(3).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    return LooseHead("head", image, READ, mesh, share)


def test_a_teacher_who_is_right_gives_the_right_label_in_the_loose_picture() -> None:
    label = label_of(Oracle(), head())
    assert geodesic(label.placed.rotation, TRUTH.rotation) < 1e-3
    assert np.abs(label.placed.centre - TRUTH.centre).max() < 1e-3
    assert label.placed.scale == pytest.approx(TRUTH.scale, rel=1e-4)
    assert np.abs(label.points - POINTS).max() < 1e-2
    assert label.spread < 1e-3
    row = label.classes[GRID // 2]
    edge = TRUTH.centre[0] * GRID / SIDE
    assert set(row[: int(edge) - 3].tolist()) == {INDEX["left_ear"]}
    assert set(row[int(edge) + 3 :].tolist()) == {INDEX["right_ear"]}
    assert label.sure[GRID // 2, 10] == 1
    assert abs(int(label.alpha[GRID // 2, GRID // 2]) - round(255 / (1 + math.exp(-2.0)))) <= 1


def test_looks_that_differ_are_told_by_their_spread_and_left_out_first() -> None:
    calm, torn = label_of(Oracle(), head()), label_of(Oracle(0.3), head())
    assert torn.spread == pytest.approx(0.3, abs=0.02)
    assert agreed([torn, calm, calm, calm], 0.75) == [1, 2, 3]


def test_a_mesh_has_its_share_and_one_that_sees_another_side_ends_the_label() -> None:
    near = Placed(Camera.look_at(0.9, -0.2, 0.1).world2cam, TRUTH.centre, TRUTH.scale)
    label = label_of(Oracle(), head(near, 0.25))
    assert geodesic(label.placed.rotation, near.rotation) == pytest.approx(
        0.75 * geodesic(TRUTH.rotation, near.rotation), rel=0.02
    )
    behind = Placed(Camera.look_at(2.6, 0.0).world2cam, TRUTH.centre, TRUTH.scale)
    contradicted = label_of(Oracle(), head(behind, 0.25))
    assert math.isinf(contradicted.spread)
    assert agreed([contradicted, label], 1.0) == [1]


def test_crops_of_photographs_carry_the_label_where_the_pixels_went(views: Views) -> None:
    label = label_of(Oracle(), head())
    spot = tuple(int(value) for value in POINTS[0])
    image = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    image[spot[1] - 1 : spot[1] + 2, spot[0] - 1 : spot[0] + 2] = 255
    exact = replace(label, points=np.tile(np.array(spot) + 0.5, (68, 1)))
    task = AdaptTask(InLook(views, seed=5), [LooseHead("a", image, READ, None, 0.0)], [exact])
    seen = 0
    for number in range(12):
        crop = task.photograph(number)
        bright = crop.image.astype(float).sum(axis=2)
        if bright.max() < 400:
            continue  # worn down, or out of the crop
        y, x = np.unravel_index(bright.argmax(), bright.shape)
        said = CROP / 2 * (crop.points[0] + 1.0)
        assert np.hypot(said[0] - x - 0.5, said[1] - y - 0.5) < 2.5
        assert abs(np.linalg.det(crop.rotation) - 1.0) < 1e-9
        kinds = {int(kind) for kind in np.unique(crop.classes[32]) if kind != UNTOLD}
        assert kinds == {INDEX["left_ear"], INDEX["right_ear"]}
        assert crop.classes[32, 2] in (INDEX["left_ear"], UNTOLD)  # mirrored or not: sides change with the picture
        seen += 1
    assert seen >= 4


def test_batches_are_half_rendered_and_the_same_for_the_same_numbers(views: Views) -> None:
    task = AdaptTask(InLook(views, seed=5), [head()], [label_of(Oracle(), head())])
    first, truth = task.batch(list(range(8)))
    again, _ = task.batch(list(range(8)))
    assert torch.equal(first, again)
    assert len(first) == 8
    assert len(truth["rotation"]) == len(truth["taught_rotation"]) == 4


def test_a_colour_map_gives_one_pictures_covariance_to_another() -> None:
    random = np.random.default_rng(2)
    first, second = (
        Colours(random.uniform(0, 255, 3), (lambda a: a @ a.T + np.eye(3))(random.normal(0, 20, (3, 3)))) for _ in "ab"
    )
    matrix = colour_map(first, second)
    assert np.allclose(matrix @ (first.covariance + LEAST_VARIANCE * np.eye(3)) @ matrix, second.covariance, rtol=1e-6)
    assert np.allclose(matrix, matrix.T)


def test_a_grey_pictures_colours_make_a_picture_grey() -> None:
    random = np.random.default_rng(2)
    grey = np.repeat(random.integers(40, 200, (64, 64, 1)), 3, axis=2).astype(np.uint8)
    colourful = random.integers(0, 255, (64, 64, 3)).astype(np.float32)
    levels = recoloured(colourful, colours_of(grey))
    spread = np.abs(levels - levels.mean(axis=2, keepdims=True)).mean()
    assert spread < 1e-3


@pytest.mark.parametrize("kind", ["noise", "blur"])
def test_a_look_takes_noise_and_blur_from_photographs(kind: str) -> None:
    random = np.random.default_rng(4)

    def scene() -> np.ndarray:  # type: ignore[type-arg]
        coarse = random.uniform(60, 190, (9, 9, 3)).astype(np.float32)
        levels = cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC) + 6.0 * random.standard_normal((128, 128, 3))
        return np.clip(levels, 0, 255).astype(np.uint8)

    def camera(picture: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        levels = picture.astype(np.float32)
        if kind == "blur":
            return np.clip(cv2.GaussianBlur(levels, (0, 0), 2.0), 0, 255).astype(np.uint8)
        return np.clip(levels + 14.0 * random.standard_normal((128, 128, 1)), 0, 255).astype(np.uint8)

    def fine(picture: np.ndarray) -> float:  # type: ignore[type-arg]
        grey = picture.astype(np.float32).mean(axis=2)
        return float((grey - cv2.GaussianBlur(grey, (0, 0), 2.0)).std())

    plain = [scene() for _ in range(12)]
    taken = [camera(scene()) for _ in range(12)]
    look = measured(taken, plain, random)
    made = [look(random, picture) for picture in plain]
    wanted, found, before = (float(np.mean([fine(picture) for picture in some])) for some in (taken, made, plain))
    assert abs(found - wanted) < 0.35 * abs(before - wanted)


def judged(error: float, steadiness: float) -> Judged:
    angles = np.random.default_rng(8).gamma(3.0, error / 3.0, 400) + np.random.default_rng(int(100 * error)).normal(0, 1, 400)
    return Judged({}, {}, steadiness, tuple(angles), float("nan"))


def test_a_network_helps_that_errs_less_by_more_than_chance_and_is_as_steady() -> None:
    before = judged(8.0, 6.0)
    fell, chance = gained(before, judged(7.5, 6.1))
    assert fell == pytest.approx(0.5, abs=0.2)
    assert 0.03 < chance < 0.15
    assert helps(before, judged(7.5, 6.1))
    assert not helps(before, judged(7.99, 4.0))
    assert not helps(before, judged(8.5, 4.0))
    assert not helps(before, judged(7.0, 9.0))


def test_too_few_photographs_are_told(views: Views, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected 24 heads or more to learn from, got 3"):
        run.adapt([head()] * 3, views, Adapting(), "x", tmp_path)


def test_rounds_that_show_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"32 images or more for each of 1 or more rounds, got 64 images in 3 rounds"):
        Adapting(images=64, rounds=3)


def test_views_are_parted_between_people(views: Views) -> None:
    first, second = views.parted(0.6)
    assert len(first) + len(second) == 6
    assert not {key.rpartition("-")[0] for key in first.keys} & {key.rpartition("-")[0] for key in second.keys}


def test_a_second_round_is_taught_by_the_mean_of_the_first(
    views: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads, start = [replace(head(), key=str(number)) for number in range(2)], str(files.path_of("head"))
    taught: list[nn.Module] = []

    def told(network: nn.Module, one: LooseHead) -> Label:
        taught.append(network)
        return label_of(network, one)

    monkeypatch.setattr(run, "label_of", told)
    settings = Adapting(images=64, rounds=2, rate=1e-3)
    run.learn(heads, views, settings, start, tmp_path)
    rounds = [begun(str(path), "head")[1] for path in (tmp_path / "round-1", run.fitted(tmp_path, settings))]
    weights = [dict(network.named_parameters()) for network in (begun(start, "head")[1], *rounds, taught[0], taught[-1])]
    name = next(iter(weights[0]))
    first, after_one, after_two, teacher, second_teacher = (numbers[name] for numbers in weights)
    assert torch.equal(teacher, first)
    assert torch.equal(second_teacher, after_one)
    assert not torch.equal(after_one, first)
    assert not torch.equal(after_two, after_one)


def parted(tmp_path: Path, names: list[tuple[str, str]], balls: Callable[[int], dict[str, bytes]]) -> list[set[str]]:
    """People of both parts of views with these keys and identities, nine tenths learned from."""
    rows = [(key, {**balls(0), "json": json.dumps({"identity": name}).encode()}) for key, name in names]
    write_shard(tmp_path / "a.tar", "train", rows)
    known, parts = dict(names), Views([tmp_path]).parted(0.9)
    return [{known[key] or key for key in part.keys} for part in parts]


def test_an_ordinary_sets_views_are_parted_by_its_records_wherever_they_lie(
    tmp_path: Path, balls: Callable[[int], dict[str, bytes]]
) -> None:
    """Ids are 16 hex digits, in whose order a person's views are scattered; photographs of nobody known are one each."""
    keys = [f"{number:016x}" for number in range(20)]
    learned, others = parted(tmp_path, [(key, f"p{index * 7 % 5}") for index, key in enumerate(keys)], balls)
    assert len(learned) == 4 and len(others) == 1 and not learned & others
    learned, others = parted(tmp_path, [(key, "") for key in keys], balls)
    assert (len(learned), len(others)) == (18, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_views_of_one_person_are_refused_before_heads_are_read(
    count: int, tmp_path: Path, balls: Callable[[int], dict[str, bytes]]
) -> None:
    write_shard(tmp_path / "a.tar", "train", [(f"only-{number}", balls(number)) for number in range(count)])
    with pytest.raises(ConfigError, match=f"two people or more, .* got {count} views? of one person; render more"):
        run.adapt([head()] * 24, Views([tmp_path]), Adapting(), "no such file", tmp_path)


@pytest.mark.slow
def test_photographs_end_in_a_network_that_stages_take_or_in_none(
    balls: Callable[[int], dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    astronaut = Image.fromarray(data.astronaut())
    (tmp_path / "photos").mkdir()
    for turn in range(26):
        astronaut.rotate(turn - 13, fillcolor="grey").save(tmp_path / "photos" / f"{turn}.png")
    (tmp_path / "views").mkdir()
    write_shard(tmp_path / "views/a.tar", "train", [(f"v{number:02d}-0", balls(number)) for number in range(20)])
    settings, start = Adapting(images=64, judged=32), str(files.path_of("head"))

    def call(out: Path) -> list[str]:
        adapted([str(tmp_path / "photos")], [tmp_path / "views"], out, start, 10, settings)
        return capsys.readouterr().out.splitlines()

    monkeypatch.setattr(run, "helps", lambda *_: False)
    assert "nothing written" in call(tmp_path / "out")[-1]
    assert not (tmp_path / "out/head.onnx").exists()
    monkeypatch.setattr(run, "helps", lambda *_: True)
    said = call(tmp_path / "out")  # what was cut and learned is taken
    assert "26 heads of 26 photographs, 26 with a face mesh" in said
    assert said[-1].endswith(f"--set stages.networks={tmp_path / 'out'}")
    before, after = HeadReader(), HeadReader(networks=str(tmp_path / "out"))
    square = whole(np.asarray(astronaut.crop((100, 0, 350, 250))))
    readings = [reader.read(np.asarray(astronaut.crop((100, 0, 350, 250))), square) for reader in (before, after)]
    assert 0.0 < geodesic(readings[0].rotation, readings[1].rotation) < math.radians(10.0)
    again = call(tmp_path / "again")
    assert [line for line in again if "degrees" in line] == [line for line in said if "degrees" in line]
    assert (tmp_path / "again/head.onnx").read_bytes() == (tmp_path / "out/head.onnx").read_bytes()
    assert len(list((tmp_path / "out").glob("run-*"))) == 1


def test_other_heads_settings_or_first_weights_have_a_run_of_their_own(views: Views, tmp_path: Path) -> None:
    some, settings = [replace(head(), key=key) for key in "abc"], Adapting()
    own = run.run_of(some, views, settings, "start", tmp_path)
    assert own == run.run_of(some, views, replace(settings, threads=4), "start", tmp_path)
    others = (
        run.run_of(some[:2], views, settings, "start", tmp_path),
        run.run_of(some, views, replace(settings, seed=8), "start", tmp_path),
        run.run_of(some, views, settings, "other", tmp_path),
        run.run_of(some, views.parted(0.5)[0], settings, "start", tmp_path),
    )
    assert len({own, *others}) == 5
