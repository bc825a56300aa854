"""The table of runs: its parts, the same numbers twice, and a detector that is given from outside."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spherehead.datasets.arrays import Floats, Pixels
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.streaming.index import subject_number
from spherehead.model.evaluation.faces import FaceCount
from spherehead.model.evaluation.features import RandomConv
from spherehead.model.evaluation.identity_consistency import IdentitySummary, picture_vector, summarise_identities
from spherehead.model.evaluation.known_persons import TABLE
from spherehead.model.evaluation.reading import HeadReading
from spherehead.model.export import evaluate as evaluating
from spherehead.model.export.evaluate import FIRST_SEED, JudgeSettings, RunScores, Scores, comparable, evaluate
from spherehead.model.export.evaluate_page import HEAD, page, table_rows
from spherehead.model.export.generate import seeded_condition
from spherehead.model.generator import Generator
from spherehead.model.nets.face_recognition import FaceRecognition
from spherehead.model.nets.persons import PersonTable
from spherehead.model.presets import preset
from spherehead.model.store import FORMAT, GENERATOR, ModelConfig, load_generator, write_config, write_part
from spherehead.model.visualization.views import RenderSettings, View, each_view, head_styles, look_from, seeded_latents


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights, which knows a person."""
    folder = tmp_path_factory.mktemp("evaluate") / "model"
    torch.manual_seed(0)
    generator = Generator(preset("tiny-64").generator)
    entry = write_part(folder, GENERATOR, generator.state_dict())
    write_config(folder, ModelConfig(FORMAT, generator.settings, parts={GENERATOR: entry}))
    table = PersonTable(torch.tensor([subject_number("person 1"), subject_number("nobody")]), generator.settings.w_dim)
    save_file({name: value.contiguous() for name, value in table.state_dict().items()}, folder / TABLE)
    return folder


@pytest.fixture(scope="module")
def people(finished_sets: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 views of ball heads."""
    yaws = [-170.0 + 5 * index for index in range(72)]
    views = tuple(finished_sets.View(yaw, split="train") for yaw in yaws)
    folder: Path = finished_sets.build(tmp_path_factory.mktemp("evaluate") / "people", views=views, lost=(), size=64, people=3)
    return folder


def brightness(picture: Pixels) -> float:
    """A detector that is sure of bright pictures."""
    return float(np.mean(picture)) / 255


def stranger(picture: Pixels) -> HeadReading:
    """A reader that takes every picture for a frontal face of skin."""
    return HeadReading(Camera.look_at(0.0, 0.0).world2cam[:3, :3], np.full((64, 64), INDEX["skin"], np.uint8))


@pytest.mark.slow
def test_views_of_heads_are_drawn_once_for_all_measures(
    model: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each head eight views for faces and backs and two more for identities, whose other three are among the eight."""
    drawn: list[Floats] = []

    def counted(generator: Generator, ws: torch.Tensor, cameras: torch.Tensor, rendering: RenderSettings) -> Iterator[View]:
        drawn.append(cameras.numpy())
        return each_view(generator, ws, cameras, rendering)

    monkeypatch.setattr(evaluating, "each_view", counted)
    settings, net = JudgeSettings(count=64, heads=2, shown=1), FaceRecognition().eval().requires_grad_(False)
    with_net = evaluate([model], [people], tmp_path / "a", RandomConv(), brightness, settings, recognition=net)
    assert [len(cameras) for cameras in drawn] == [8, 2, 8, 2, 8]  # the last are the grid's
    assert len(np.unique(np.concatenate(drawn[:2]), axis=0)) == 10
    without = evaluate([model], [people], tmp_path / "b", RandomConv(), brightness, settings)
    for first, second in zip(comparable(with_net)["rows"], comparable(without)["rows"], strict=True):
        assert {**first, "identity": None} == second
    run, (generator, vectors, azimuths) = with_net.rows[1], (load_generator(model), [], [])
    for seed in (FIRST_SEED, FIRST_SEED + 1):  # the plain way: five views of each head by themselves
        latents, condition = seeded_latents([seed], generator.settings.z_dim), seeded_condition(generator, [seed])[0]
        for yaw in (0.0, 20.0, -20.0, 45.0, -45.0):
            camera = look_from([math.radians(yaw)])
            (view,) = each_view(generator, head_styles(generator, latents, condition, 1.0), camera)
            vectors.append(picture_vector(net, view.image, camera[0].numpy(), 64))
            azimuths.append(yaw)
    plain = summarise_identities(np.stack(vectors), [0] * 5 + [1] * 5, np.array(azimuths))
    assert run.identity is not None and plain is not None and run.identity.pairs == plain.pairs
    assert run.identity.same == pytest.approx(plain.same, rel=1e-3)
    assert run.identity.others == pytest.approx(plain.others, rel=1e-3)


@pytest.mark.slow
def test_the_same_call_gives_the_same_numbers(model: Path, people: Path, tmp_path: Path) -> None:
    settings, net = JudgeSettings(count=64, heads=2, shown=1), FaceRecognition().eval().requires_grad_(False)
    first, second = (
        evaluate([model], [people], tmp_path / name, RandomConv(), brightness, settings, reader=stranger, recognition=net)
        for name in ("a", "b")
    )
    assert comparable(first) == comparable(second)
    assert [row.name for row in first.rows] == ["data, half against half", "model"]
    data, run = first.rows
    assert set(run.distances) == set(run.coverage) == {"all", "front", "back"} and run.distances["all"].count == 64
    assert run.distances["all"].frechet > data.distances["all"].frechet
    assert data.faces is not None and data.faces.front.rate >= 0.84
    assert run.faces is not None and (run.faces.front.total, run.faces.back.total) == (6, 10)
    assert run.reading is not None and run.reading.faces.front == FaceCount(0, 6)
    assert run.reading.degrees == pytest.approx(145.0, abs=0.01)  # the middle of 0, 20, 20, 145, 145, 160, 160, 180
    assert data.reading is not None and not math.isnan(data.reading.class_iou)
    assert run.seconds is not None and run.seconds > 0 and run.mirror is not None
    assert run.persons is not None and run.persons.count > 0 and run.persons.depth_cm is None and data.persons is None
    assert run.identity is not None and (run.identity.heads, run.identity.pairs) == (2, 20) and run.identity.same > 0
    assert data.identity is not None and data.identity.others > 0 and first.identity == ""
    assert all(len(row) == len(HEAD) for row in table_rows(first))
    written = json.loads((tmp_path / "a" / "evaluate.json").read_text())
    assert written["features"] == "random-conv-v1" and len(written["rows"]) == 2
    html = (tmp_path / "a" / "evaluate.html").read_text()
    assert '<img src="model.png"' in html and (tmp_path / "a" / "model.png").is_file()
    assert "random-conv-v1" in html and html.count("<tr>") == 3


def test_a_model_without_class_maps_is_measured_by_data_without_fronts(finished_sets: ModuleType, tmp_path: Path) -> None:
    """Shares of classes and of faces that do not exist are dashes in the table and null in the file, not its end."""
    heads = importlib.import_module("small_heads")
    torch.manual_seed(0)
    generator = Generator(dataclasses.replace(heads.settings(), parsing=None))
    heads.save(tmp_path / "plain", generator)
    views = tuple(finished_sets.View(yaw, split="train") for yaw in np.linspace(100.0, 260.0, 64).tolist())
    behind: Path = finished_sets.build(tmp_path / "behind", views=views, lost=(), size=32)
    judged = JudgeSettings(count=64, heads=1, shown=1)
    scores = evaluate([tmp_path / "plain"], [behind], tmp_path / "out", RandomConv(), brightness, judged, reader=stranger)
    written = json.loads((tmp_path / "out" / "evaluate.json").read_text())
    assert written["rows"][1]["mirror"]["mean"]["face_parts"] is None and written["rows"][1]["reading"]["class_iou"] is None
    assert written["face_threshold"] is None and scores.rows[1].faces is None
    assert all("nan" not in cell for row in table_rows(scores) for cell in row)


def test_runs_of_one_name_have_rows_and_grids_of_their_own() -> None:
    names = evaluating._names([Path("/a/run"), Path("/b/run-2"), Path("/c/run"), Path("/d/run")])
    assert names[:2] == ["run", "run-2"] and len(set(names)) == 4


def test_a_table_without_the_network_says_how_to_get_it() -> None:
    row = RunScores("data", identity=IdentitySummary(0.314, 0.691, 0.987, 20, 90))
    told = Scores(("people",), "random-conv-v1", None, JudgeSettings(), (row,), "Identities were not compared; run <this>")
    (cells,) = table_rows(told)
    found = dict(zip(HEAD, cells, strict=True))
    assert found["identity: same head / others"] == "0.31 / 0.69" and found["same nearer"] == "99 %"
    assert "Identities were not compared; run &lt;this&gt;." in page(told, [])
    assert table_rows(Scores((), "", None, JudgeSettings(), (RunScores("run"),)))[0].count("-") == len(HEAD) - 2
