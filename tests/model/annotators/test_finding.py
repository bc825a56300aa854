"""Numbers of a finder: all heads of a scene are found where the answer is the truth, and nothing is where it is silent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.cli import main
from spherehead.model.annotators.finding import boxes_of, evaluate_finder, found_boxes, overlaps
from spherehead.model.annotators.networks import FINDER_STRIDE
from spherehead.model.annotators.shown.scenes import Scene
from spherehead.pipeline.annotators.heads.finder import peaks
from torch import nn

SIDE = 128
HEADS = ((10.0, 12.0, 18.0, 20.0), (60.0, 40.0, 30.0, 40.0), (90.0, 90.0, 34.0, 30.0))
"""x, y, width and height: one of less than 24 pixels and two of less than 48."""


def maps_of(boxes: tuple[tuple[float, float, float, float], ...], score: float = 0.99) -> torch.Tensor:
    """A finder's answer that tells boxes, silent elsewhere."""
    cells = SIDE // FINDER_STRIDE
    maps = torch.zeros(5, cells, cells)
    maps[0] = -9.0
    for x, y, width, height in boxes:
        column, row = (int(value // FINDER_STRIDE) for value in (x + width / 2, y + height / 2))
        maps[0, row, column] = float(np.log(score / (1.0 - score)))
        maps[1, row, column] = (x + width / 2) / FINDER_STRIDE - column - 0.5
        maps[2, row, column] = (y + height / 2) / FINDER_STRIDE - row - 0.5
        maps[3, row, column], maps[4, row, column] = np.log(width / FINDER_STRIDE), np.log(height / FINDER_STRIDE)
    return maps


class Scenes:
    """A task of one scene, shown again and again, and a network that answers each with the same maps."""

    def __init__(self, answer: torch.Tensor) -> None:
        self.answer = answer

    def batch(self, numbers: list[int]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        truth = maps_of(HEADS)
        heat = (truth[0] > 0).float()
        return torch.zeros(len(numbers), 3, SIDE, SIDE), {
            "heat": heat.expand(len(numbers), -1, -1), "boxes": truth[1:].expand(len(numbers), -1, -1, -1),
        }  # fmt: skip

    def network(self) -> nn.Module:
        answer = self.answer

        class Answers(nn.Module):
            def forward(self, pictures: torch.Tensor) -> torch.Tensor:
                return answer.expand(len(pictures), -1, -1, -1)

        return Answers()


def numbers(answer: torch.Tensor) -> dict:
    scenes = Scenes(answer)
    return evaluate_finder(scenes.network(), scenes, 5, batch=2)  # type: ignore[arg-type]


def test_the_truth_finds_all_and_nothing_else() -> None:
    told = numbers(maps_of(HEADS))
    assert told == {
        "height": {"14-24": {"num": 5, "found": 1.0}, "24-48": {"num": 10, "found": 1.0}}, "overlap": 1.0,
        "false_per_picture": 0.0,
    }  # fmt: skip


def test_what_is_missed_wrong_or_doubted_is_counted() -> None:
    elsewhere = (20.0, 90.0, 40.0, 40.0)
    told = numbers(maps_of((HEADS[0], HEADS[1], elsewhere)))
    assert told["height"] == {"14-24": {"num": 5, "found": 1.0}, "24-48": {"num": 10, "found": 0.5}}
    assert told["false_per_picture"] == 1.0
    assert numbers(maps_of(HEADS, score=0.3))["overlap"] is None
    larger = (HEADS[1][0] - 3.0, HEADS[1][1] - 4.0, HEADS[1][2] + 6.0, HEADS[1][3] + 8.0)
    assert numbers(maps_of((larger,)))["overlap"] == pytest.approx(30.0 * 40.0 / (36.0 * 48.0), abs=1e-3)


def test_one_head_told_twice_is_one_found_and_none_false() -> None:
    twice = (HEADS[1][0] + 9.0, *HEADS[1][1:])
    assert numbers(maps_of((*HEADS, twice)))["false_per_picture"] == 0.0


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_boxes_are_those_that_the_pipeline_reads_off_the_same_answer(seed: int) -> None:
    random = np.random.default_rng(seed)
    maps = torch.from_numpy(random.normal(0.0, 1.0, (5, 16, 16)).astype(np.float32))
    maps[0] = maps[0] * 2.0 - 3.0
    heat = maps[0].sigmoid()
    known = np.reshape([box for box, _ in peaks(heat.numpy(), maps[1:].numpy(), 0.4)], (-1, 4))
    corners = np.concatenate([known[:, :2], known[:, :2] + known[:, 2:]], axis=1)
    for box in found_boxes(maps):
        assert np.isclose(corners, box, atol=1e-3).all(axis=1).any()
    kept = found_boxes(maps)
    for index, box in enumerate(kept):
        others = np.delete(kept, index, axis=0)
        assert not len(others) or overlaps(others, box).max() <= 0.3 + 1e-6


def test_a_scene_of_the_task_is_read_back_as_it_was_drawn() -> None:
    scene = Scene(
        np.zeros((SIDE, SIDE, 3), dtype=np.uint8), maps_of(HEADS)[0].gt(0).float().numpy(), maps_of(HEADS)[1:].numpy()
    )
    boxes = boxes_of(torch.from_numpy(scene.boxes), torch.nonzero(torch.from_numpy(scene.heat) == 1.0))
    wanted = np.array([(x, y, x + width, y + height) for x, y, width, height in HEADS])
    assert np.allclose(boxes, wanted, atol=1e-4)


@pytest.mark.slow
def test_the_packages_networks_are_judged_by_name(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared / "assets" / "makehuman"
    if not folder.is_dir():
        pytest.skip(f"no MakeHuman assets at {folder}")
    monkeypatch.setenv("SPHEREHEAD_ASSETS", str(folder))
    views = ["annotators", "views", "--out", str(tmp_path), "--count", "2", "--views", "4", "--size", "96", "--seed", "5"]
    assert main(views) == 0
    for name, word in (("head", "rotation_median"), ("parser", "mean_iou"), ("finder", "found")):
        assert main(["annotators", "evaluate", f"shipped-{name}", "--data", str(tmp_path), "--count", "8"]) == 0
        assert word in capsys.readouterr().out
    assert main(["annotators", "evaluate", str(tmp_path / "none"), "--data", str(tmp_path)]) == 2


def test_hard_is_refused_for_a_finder_whose_scenes_are_drawn_as_in_training_anyway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotators", "evaluate", "shipped-finder", "--data", str(tmp_path), "--hard"]) == 2
    told = capsys.readouterr().err
    assert "--hard" in told and "finder" in told


@pytest.mark.parametrize("name", ["shipped", "shipped-xyz", "shipped-quality"])
def test_a_misspelt_network_of_the_package_is_told_with_the_words_that_there_are(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotators", "evaluate", name, "--data", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert name in told and all(f"shipped-{task}" in told for task in ("head", "parser", "finder"))
