"""Rebuilt persons: a view that is the generator's own costs nothing, another person's does, and strangers are left out."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spherehead.datasets.camera import CANONICAL_SCALE, Camera
from spherehead.datasets.depth import ray_lengths
from spherehead.datasets.shards.codec import Decoded
from spherehead.datasets.streaming.index import subject_number
from spherehead.model.evaluation import known_persons
from spherehead.model.evaluation.known_persons import TABLE, rebuilt_persons
from spherehead.model.generator import Generator
from spherehead.model.nets.persons import PersonTable
from spherehead.model.presets import preset
from spherehead.model.visualization.views import RenderSettings, to_pixels

FULL = RenderSettings()


@pytest.fixture(scope="module")
def generator() -> Generator:
    """A tiny model with random weights."""
    torch.manual_seed(0)
    return Generator(preset("tiny-64").generator).eval()


@pytest.fixture(scope="module")
def table(generator: Generator) -> PersonTable:
    """Two persons of the ball heads, and one that no set shows."""
    torch.manual_seed(1)
    names = ("person 0", "person 2", "nobody")
    return PersonTable(torch.tensor([subject_number(name) for name in names]), generator.settings.w_dim)


@torch.no_grad()
def own_view(generator: Generator, table: PersonTable, row: int, nearer: float = 0.0) -> Decoded:
    """Return a view that the generator itself made of a person, its surface `nearer` by that number of centimetres."""
    camera = Camera.look_at(0.6, 0.1)
    ws = table.styles[row].expand(1, generator.num_ws, -1)
    made = generator.synthesise(ws, torch.from_numpy(camera.label())[None])
    assert made.mask is not None and made.depth is not None
    side = made.image.shape[-1]
    mask = torch.nn.functional.interpolate(made.mask, size=(side, side), mode="bilinear")[0, 0] > 0.5
    raw = made.depth.shape[-1]
    distance = made.depth[0, 0].numpy() - nearer * CANONICAL_SCALE
    depth = np.kron(distance / ray_lengths(camera.intrinsics, raw), np.ones((side // raw, side // raw))).astype(np.float32)
    return Decoded("own", to_pixels(made.image)[0], mask.numpy().astype(np.uint8) * 255, None, camera, {}, depth)


def test_the_generators_own_view_costs_nothing(generator: Generator, table: PersonTable) -> None:
    assert not generator.settings.own_ground
    psnr, iou, depth = known_persons._compare(generator, table, 1, own_view(generator, table, 1), FULL)
    assert psnr > 45 and iou == 1.0 and depth < 0.01
    other = known_persons._compare(generator, table, 0, own_view(generator, table, 1), FULL)
    assert other[0] < psnr - 5
    assert known_persons._compare(generator, table, 1, own_view(generator, table, 1, 2.0), FULL)[2] == pytest.approx(2, 0.01)


def test_only_persons_of_the_table_are_rebuilt(
    generator: Generator, table: PersonTable, finished_sets: ModuleType, tmp_path: Path
) -> None:
    people = finished_sets.build(tmp_path / "people", size=64, people=3)
    assert rebuilt_persons(generator, tmp_path, [people], FULL) is None
    save_file({name: value.contiguous() for name, value in table.state_dict().items()}, tmp_path / TABLE)
    found = rebuilt_persons(generator, tmp_path, [people], FULL, most=6)
    assert found is not None and found.count == 6 and found.depth_cm is None
    assert found.mask_iou is not None and 0 <= found.mask_iou <= 1
    rows = known_persons.person_rows(people, table)
    assert set(rows.values()) == {int(table.rows(torch.tensor([subject_number(f"person {n}")]))) for n in (0, 2)}
    strangers = finished_sets.build(tmp_path / "strangers", size=64)
    assert rebuilt_persons(generator, tmp_path, [strangers], FULL) is None


def test_a_view_whose_matte_is_nowhere_opaque_spoils_no_mean(
    generator: Generator, table: PersonTable, finished_sets: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = finished_sets.build(tmp_path / "people", size=32, people=3)
    save_file({name: value.contiguous() for name, value in table.state_dict().items()}, tmp_path / TABLE)
    faint = dataclasses.replace(own_view(generator, table, 1), mask=np.full((64, 64), 240, np.uint8))
    nothing = known_persons._compare(generator, table, 1, faint, FULL)
    answers = itertools.chain([nothing], itertools.repeat((30.0, 0.5, 1.0)))
    monkeypatch.setattr(known_persons, "_compare", lambda *_: next(answers))
    found = rebuilt_persons(generator, tmp_path, [people], FULL)
    assert found is not None and found.count > 1 and found.psnr == 30.0
    monkeypatch.setattr(known_persons, "_compare", lambda *_: nothing)
    alone = rebuilt_persons(generator, tmp_path, [people], FULL)
    assert alone is not None and alone.psnr is None
