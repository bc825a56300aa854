"""Sets of photographs: ordinary shards, the same bytes for one and two workers and after a kill, read back whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from spherehead.datasets.shards.photographs import Photograph
from spherehead.datasets.shards.storage import DataError
from spherehead.datasets.shards.verify import verify
from spherehead.datasets.streaming.photographs import PhotographStream
from spherehead.manifests.config import ConfigError
from spherehead.pipeline.synthetic.source import MakeHumanSource, opened
from spherehead.pipeline.synthetic.wild.photographs import cast_of, compose
from spherehead.pipeline.synthetic.wild.writer import parse_wild, plan, write_photographs


@pytest.fixture(scope="module")
def text(makehuman_folder: Path) -> str:
    return f"makehuman:count=7,views=1,size=96,seed=4,assets={makehuman_folder}"


@pytest.fixture(scope="module")
def folder(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("photographs") / "set"
    done = write_photographs(parse_wild(text), out, shard_size=6)
    assert (done.photographs, done.shards, done.made) == (7, 2, 2)
    assert done.heads >= 7
    return out


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_the_set_is_sound(folder: Path) -> None:
    assert verify(folder, deep=True) == []


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(folder: Path, text: str, tmp_path: Path) -> None:
    write_photographs(parse_wild(text), tmp_path / "set", shard_size=6, workers=2)
    assert digests(tmp_path / "set") == digests(folder)


def test_a_run_that_was_stopped_resumes_to_the_same_bytes(folder: Path, text: str) -> None:
    """A lost shard is made again, others stay; a finished set is left alone."""
    before = digests(folder)
    (folder / "train-000001.tar").unlink()
    assert write_photographs(parse_wild(text), folder, shard_size=6).made == 1
    assert digests(folder) == before
    assert write_photographs(parse_wild(text), folder, shard_size=6).made == 0


def test_other_settings_are_refused(folder: Path, text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="other settings"):
        write_photographs(parse_wild(text.replace("seed=4", "seed=5")), folder, shard_size=6)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="empty folder"):
        write_photographs(parse_wild(text), tmp_path, shard_size=6)
    with pytest.raises(ConfigError, match="render-photographs"):
        MakeHumanSource(f"{text},framing=wild,light=raster")


def test_what_is_read_is_what_was_composed(folder: Path, text: str) -> None:
    settings = parse_wild(text)
    read = {photo.record["derivation"]: photo for photo in PhotographStream([folder])}
    assert len(read) == 7
    cast = cast_of(settings, opened(settings.assets), 1)
    photo = next(photo for made, photo in read.items() if json.loads(made)["person"] == cast[0].name)
    expected, _ = compose(settings, cast, 0, 0)
    same(photo, expected)


def same(read: Photograph, made: Photograph) -> None:
    assert (read.image == made.image).all()
    assert (read.parsing == made.parsing).all()
    assert (read.who == made.who).all()
    assert all((first == second).all() for first, second in zip(read.alphas, made.alphas, strict=True))
    near = np.isfinite(made.depth)
    assert (np.isfinite(read.depth) == near).all()
    assert np.abs(read.depth[near] - made.depth[near]).max() <= 0.00051
    for first, second in zip(read.heads, made.heads, strict=True):
        assert np.array_equal(first.points, second.points)
        assert np.allclose(first.photo_camera.cam2world, second.photo_camera.cam2world, atol=0)
        assert np.allclose(first.crop, second.crop, atol=0)
        assert (first.camera.label() == second.camera.label()).all()
        assert np.allclose(first.box, second.box, atol=1e-3)


def test_ranks_share_an_epoch(folder: Path) -> None:
    whole = PhotographStream([folder], seed=3)
    parts = [PhotographStream([folder], seed=3, rank=rank, num_ranks=2).order(1) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == list(range(7))
    assert whole.order(0) != whole.order(1)
    with pytest.raises(DataError, match="no samples of split 'val'"):
        PhotographStream([folder], split="val")


def test_casts_stay_in_one_split(text: str) -> None:
    shards = plan(parse_wild(text.replace("count=7", "count=240")), 12)
    casts = [cast for shard in shards for cast in shard.casts]
    assert sorted(casts) == list(range(40))
    assert {cast for shard in shards if shard.split == "val" for cast in shard.casts} == {9, 19, 29, 39}
