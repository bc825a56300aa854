"""Identities from view to view: pairs and their chances by hand, and persons of a data set."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from spherehead.datasets.arrays import Floats
from spherehead.datasets.camera import Camera
from spherehead.datasets.shards.inspect import PLACE, read
from spherehead.manifests.frames import read_frame
from spherehead.model.evaluation.identity_consistency import (
    _front_views,
    data_identities,
    picture_vector,
    summarise_identities,
)
from spherehead.model.nets.face_recognition import FaceRecognition


def line(*places: float) -> Floats:
    """Vectors on a line."""
    return np.array([[place, 0.0] for place in places])


def test_pairs_of_one_head_are_held_against_those_of_two() -> None:
    """Heads at 0, 1 and at 3, 7: same 1 and 4; others 3, 7, 2, 6. 1 is below all four, 4 below 6 and 7: 6 of 8."""
    found = summarise_identities(line(0, 1, 3, 7), [5, 5, 9, 9], np.array([0.0, 30.0, 0.0, 30.0]))
    assert found is not None
    assert (found.same, found.others, found.separation) == (2.5, 4.5, 6 / 8)
    assert (found.heads, found.pairs) == (2, 2)


def test_ties_count_half_and_equal_views_are_left_out() -> None:
    found = summarise_identities(line(0, 0, 0, 0), [1, 1, 2, 2], np.array([0.0, 20.0, 0.0, 20.0]))
    assert found is not None and found.separation == 0.5
    found = summarise_identities(line(0, 5, 3), [1, 1, 1], np.array([0.0, 4.0, 20.0]))
    assert found is None
    found = summarise_identities(line(0, 5, 3, 9), [1, 1, 1, 2], np.array([0.0, 4.0, 20.0, 0.0]))
    assert found is not None and found.pairs == 2 and found.same == 2.5


def test_nothing_is_said_without_two_views_of_a_head_or_without_two_heads() -> None:
    assert summarise_identities(line(0, 1), [1, 2], np.zeros(2)) is None
    assert summarise_identities(line(0, 1), [1, 1], np.array([0.0, 30.0])) is None


def test_persons_of_a_set_are_seen_from_in_front_and_compared(finished_sets: ModuleType, tmp_path: Path) -> None:
    """The same numbers as from the pictures themselves, read one by one; nobody who is seen once, nothing from behind."""
    torch.manual_seed(0)
    net = FaceRecognition().eval().requires_grad_(False)
    views = tuple(finished_sets.View(yaw, split="train") for yaw in (-40.0, -20.0, 0.0, 15.0, 30.0, 100.0, 170.0, 50.0))
    folder = finished_sets.build(tmp_path / "people", views=views, lost=(), size=64, people=3)
    persons = _front_views(folder)
    kept = [key for keys in persons.values() for key in keys]
    samples = list(read(folder, sorted(kept), read_frame(folder, PLACE)))
    assert all(sample.camera is not None and abs(np.degrees(sample.camera.yaw)) <= 45 for sample in samples)
    assert all(len(keys) > 1 for keys in persons.values()) and len(kept) >= 4
    of = {key: number for number, keys in persons.items() for key in keys}
    vectors, yaws = [], []
    for sample in samples:
        assert sample.camera is not None
        vectors.append(picture_vector(net, sample.image, sample.camera.label(), 48))
        yaws.append(np.degrees(sample.camera.yaw))
    expected = summarise_identities(np.stack(vectors), [of[sample.id] for sample in samples], np.array(yaws))
    found = data_identities([folder], net, 48)
    assert expected is not None and found is not None
    assert found.same == pytest.approx(expected.same) and found.others == pytest.approx(expected.others)
    assert found.separation == pytest.approx(expected.separation)
    assert data_identities([folder], net, 48, most=1) is None


def test_persons_with_more_views_than_the_budget_are_compared_by_the_first_of_them(
    finished_sets: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = FaceRecognition().eval().requires_grad_(False)
    views = tuple(finished_sets.View(yaw, split="train") for yaw in range(-44, 45, 4))
    folder = finished_sets.build(tmp_path / "people", views=views, lost=(), size=64, people=2)
    persons = _front_views(folder)
    assert len(persons) == 2 and min(map(len, persons.values())) > 8
    first = {number: keys[:4] for number, keys in persons.items()}
    found = data_identities([folder], net, 48, most=8)
    monkeypatch.setattr("spherehead.model.evaluation.identity_consistency._front_views", lambda _: first)
    assert found is not None and found.heads == 2 and found == data_identities([folder], net, 48)


def test_pictures_compare_at_one_resolution() -> None:
    torch.manual_seed(0)
    net = FaceRecognition().eval().requires_grad_(False)
    large = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    label = Camera.look_at(0.1, 0.0).label()
    small = np.kron(large, np.ones((2, 2, 1), dtype=np.uint8))
    np.testing.assert_allclose(picture_vector(net, small, label, 64), picture_vector(net, large, label, 64), atol=1e-6)
