"""Looking into a finished set: what is found is what was built, and choices do not depend on the order of rows."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from spherehead.datasets.shards import inspect
from spherehead.datasets.shards.mirror import mirrored
from spherehead.manifests.config import ConfigError
from spherehead.manifests.frames import read_frame
from spherehead.manifests.store import HEADER, MANIFEST, ManifestError, read


@pytest.fixture(scope="module")
def frame(finished_set: Path) -> pd.DataFrame:
    rows = read_frame(finished_set, [*inspect.PLACE, "yaw_degrees", "pitch_degrees", "score_head_px", "score_blur_px"])
    return rows[rows["status"] == "kept"]


def test_shards_are_listed_and_checked(finished_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    assert [state.entry.count for state in inspect.list_shards(folder)] == [5, 5, 2, 2]
    assert all(state.sound and state.sha256_matches for state in inspect.list_shards(folder, check=True))
    data = bytearray((folder / "train-000001.tar").read_bytes())
    data[3000] ^= 1
    (folder / "train-000001.tar").write_bytes(data)
    (folder / "val-000000.tar").unlink()
    assert [state.sound for state in inspect.list_shards(folder)] == [True, True, True, False]
    assert [state.sound for state in inspect.list_shards(folder, check=True)] == [True, False, True, False]


def test_sample_is_shown_by_a_beginning_of_its_id(finished_set: Path, frame: pd.DataFrame) -> None:
    key = frame["id"].iloc[3]
    shown = inspect.show(finished_set, key[:9])
    assert shown.row["id"] == key and shown.decoded is not None and shown.decoded.id == key
    assert sorted(name for name, _ in shown.members) == ["cam.json", "jpg", "json", "mask.png", "seg.png"]
    assert shown.angles is not None and shown.angles[0] == pytest.approx(frame["yaw_degrees"].iloc[3], abs=1e-3)


def test_refused_row_is_shown_without_members(finished_set: Path) -> None:
    rows = read(finished_set).table.to_pylist()
    key = next(row["id"] for row in rows if row["reason"] == "blurred")
    shown = inspect.show(finished_set, key)
    assert shown.row["detail"] == "blur_px 4.1 > 3" and shown.members == () and shown.decoded is None


def test_ambiguous_and_unknown_ids_are_refused(finished_set: Path) -> None:
    with pytest.raises(LookupError, match="found 19: "):
        inspect.show(finished_set, "")
    with pytest.raises(LookupError, match="found 0"):
        inspect.show(finished_set, "zz")


def test_iteration_follows_shards_and_may_keep_to_a_split(finished_set: Path, frame: pd.DataFrame) -> None:
    order = frame.sort_values(["split", "id"])["id"].tolist()
    assert [sample.id for sample in inspect.iterate(finished_set)] == order
    assert [sample.id for sample in inspect.iterate(finished_set, "val")] == order[-2:]
    with pytest.raises(LookupError, match="kept row"):
        list(inspect.read(finished_set, ["0" * 16]))


def test_landmarks_come_from_the_record(finished_set: Path) -> None:
    samples = {round(np.degrees(s.camera.yaw)): s for s in inspect.iterate(finished_set) if s.camera is not None}
    front, back = inspect.landmarks(samples[0]), inspect.landmarks(samples[178])
    assert front is not None and front.shape == (68, 2) and 0 < front.min() < front.max() < 96
    assert back is None


def test_random_choice_depends_on_ids_and_seed_alone(frame: pd.DataFrame) -> None:
    chosen = inspect.pick_random(frame, 6, seed=3)
    assert chosen == inspect.pick_random(frame.sample(frac=1, random_state=1), 6, seed=3)
    assert len(set(chosen)) == 6 and chosen != inspect.pick_random(frame, 6, seed=4)
    fewer = frame[~frame["id"].isin(chosen[:1])]  # a growing set changes the choice only where new ids come in
    assert inspect.pick_random(fewer, 5, seed=3) == chosen[1:]


def test_worst_are_the_low_heads_and_the_high_blurs(frame: pd.DataFrame) -> None:
    worst = inspect.pick_worst(frame, "head_px", 4)
    assert frame.set_index("id").loc[worst, "score_head_px"].tolist() == sorted(frame["score_head_px"])[:4]
    worst = inspect.pick_worst(frame, "blur_px", 4)
    assert frame.set_index("id").loc[worst, "score_blur_px"].tolist() == sorted(frame["score_blur_px"])[:-5:-1]
    with pytest.raises(LookupError, match="it has blur_px, head_px"):
        inspect.pick_worst(frame, "beauty", 4)


def test_one_picture_is_picked_for_each_filled_direction(frame: pd.DataFrame) -> None:
    chosen = inspect.pick_by_view(frame)
    assert chosen == inspect.pick_by_view(frame.iloc[::-1])
    yaw = frame.set_index("id")["yaw_degrees"]
    for (_, sector), key in chosen.items():
        distance = (yaw[key] - (-180 + 30 * sector) + 180) % 360 - 180
        assert abs(distance) <= 15.001
    assert len(chosen) == len(set(chosen.values())) == 11


def test_refused_pictures_are_listed_by_reason(finished_set: Path, tmp_path: Path) -> None:
    found = inspect.refused_pictures(finished_set)
    assert {reason: len(paths) for reason, paths in found.items()} == {"blurred": 1, "near_duplicate": 1, "pose_unsure": 1}
    assert inspect.refused_pictures(tmp_path) == {}


def test_empty_set_lists_nothing(finished_sets: ModuleType, tmp_path: Path) -> None:
    folder = finished_sets.build(tmp_path / "none", views=(), lost=())
    assert inspect.list_shards(folder) == [] and list(inspect.iterate(folder)) == [] and inspect.find(folder, "") == []


def test_record_text_is_json_with_short_lists_on_one_line() -> None:
    record = {"b": [1.5, 2.0], "a": {"x": [], "d": {}, "s": "é\n"}, "c": [{"k": None}, [1, 2]]}
    text = inspect.record_text(record)
    assert json.loads(text) == record
    assert ' "b": [1.5, 2.0],' in text.splitlines() and text.index('"a"') < text.index('"b"') < text.index('"c"')


@pytest.mark.parametrize("name", ["../../{tmp}/mine.tar", "/{tmp}/mine.tar"])
def test_a_header_from_a_server_names_no_file_outside_of_its_set(finished_set: Path, tmp_path: Path, name: str) -> None:
    """A copy of a shard is written under its name and removed again: so it must be a name, and of a file in the copy."""
    import fsspec

    (tmp_path / "mine.tar").write_bytes(b"mine")
    name = name.format(tmp="/".join(tmp_path.relative_to(tempfile.gettempdir()).parts) if name[0] == "." else str(tmp_path)[1:])
    header = json.loads((finished_set / HEADER).read_bytes())
    header["shards"][0] |= {"name": name, "num_bytes": 4}
    files = fsspec.filesystem("memory")
    for file, data in (
        (HEADER, json.dumps(header).encode()),
        (MANIFEST, (finished_set / MANIFEST).read_bytes()),
        (name, b"evil"),
    ):
        files.pipe(f"memory://evil/{file}", data)
    with pytest.raises(ManifestError, match="expected the file name of a shard"), mirrored("memory://evil") as folder:
        inspect.list_shards(folder, check=True)
    assert (tmp_path / "mine.tar").read_bytes() == b"mine"


def test_a_misspelt_split_is_refused_and_an_absent_set_told(finished_set: Path, tmp_path: Path) -> None:
    assert len(list(inspect.iterate(finished_set))) == len(list(inspect.iterate(finished_set, "train"))) + len(
        list(inspect.iterate(finished_set, "val"))
    )
    with pytest.raises(ConfigError, match=r"unknown field 'trian' in the splits of .*; did you mean 'train'"):
        inspect.iterate(finished_set, "trian")
    with pytest.raises(ManifestError, match=r"no manifest\.json in"):
        inspect.iterate(tmp_path)
