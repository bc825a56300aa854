"""Heads cut out of photographs without labels: where they lie in their pictures, and what a second call does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spherehead.datasets.camera import geodesic, rotation_z
from spherehead.datasets.sources.open import open_source
from spherehead.pipeline.stages import loose_heads
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.stages.loose_heads import ROOM, SIDE, Cut, cut_heads

STAGE = Detect(faces="largest")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage import data

    folder = tmp_path_factory.mktemp("photographs")
    astronaut = Image.fromarray(data.astronaut())
    for name, picture in (("a.png", astronaut), ("b.png", astronaut), ("turned.png", astronaut.rotate(20, fillcolor="grey"))):
        picture.save(folder / name)
    Image.fromarray(np.full((200, 200, 3), 90, dtype=np.uint8)).save(folder / "empty.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return folder


@pytest.fixture(scope="module")
def cut(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cut]:
    out = tmp_path_factory.mktemp("heads")
    return out, cut_heads([open_source(str(photographs))], out, STAGE)


def read(cut: Cut) -> list[tuple[dict[str, dict[str, list[float]]], bytes]]:
    from spherehead.datasets.shards.tar import iterate

    found = []
    for path in cut.files:
        with path.open("rb") as file:
            found += [(json.loads(members["json"]), members["png"]) for _, members in iterate(file)]
    return found


def test_every_file_is_accounted_for_once(cut: tuple[Path, Cut]) -> None:
    counts = cut[1].counts
    assert counts["photographs"] == counts["heads"] == counts["faces"] == 2  # the copy of the first is not looked at again
    assert counts["no_head"] == 1
    assert sum(counts.values()) == 8, "the broken file has a reason of its own"


def test_heads_lie_upright_in_the_middle_with_room_around(cut: tuple[Path, Cut]) -> None:
    for told, _ in read(cut[1]):
        assert told["read"]["centre"] == pytest.approx([SIDE / 2, SIDE / 2])
        assert told["read"]["scale"] == pytest.approx(SIDE / ROOM)
        up = -np.array(told["read"]["rotation"])[:2, 1]
        assert abs(np.degrees(np.arctan2(-up[0], up[1]))) < 1.0 or abs(np.degrees(np.arctan2(up[0], -up[1]))) < 1.0


def test_a_turned_photograph_gives_nearly_the_same_head(cut: tuple[Path, Cut]) -> None:
    first, second = (told["mesh"] for told, _ in read(cut[1]))
    apart = np.degrees(geodesic(np.array(first["rotation"]), np.array(second["rotation"])))
    assert apart < 5.0
    assert np.degrees(geodesic(rotation_z(np.radians(20)), np.eye(3))) == pytest.approx(20.0)
    assert 0.0 < first["share"] < 1.0  # type: ignore[operator]


def test_a_second_call_looks_at_nothing_again(
    photographs: Path, cut: tuple[Path, Cut], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, before = cut
    bytes_before = {path: path.read_bytes() for path in before.files}
    monkeypatch.setattr(loose_heads, "_heads", lambda *_: pytest.fail("looked again"))
    again = cut_heads([open_source(str(photographs))], out, STAGE)
    assert again.files == before.files
    assert again.counts == before.counts
    assert {path: path.read_bytes() for path in again.files} == bytes_before


def test_heads_cut_by_another_version_of_the_detector_are_cut_anew(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loose_heads, "_heads", lambda *_: [])
    first = cut_heads([open_source(str(photographs))], tmp_path, STAGE).files
    monkeypatch.setattr(type(STAGE), "version", STAGE.version + 1)
    assert not {*first} & {*cut_heads([open_source(str(photographs))], tmp_path, STAGE).files}
