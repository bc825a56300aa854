"""A resumed build gives the bytes of a fresh one, whatever stage was changed, and whatever lies between the stages."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from odd_stages import Blunder, Odd, Tint
from spherehead.datasets.sample import Crop, Sample
from spherehead.manifests import store
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.presets import preset
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.augment import Augment, Photometry
from spherehead.pipeline.stages.frame import Frame


def run(folder: Path, out: Path, what: Recipe, **options: object) -> Summary:
    return build(BuildRequest((str(folder),), out, what, **{"engine": "inline", **options}))


def digests(out: Path) -> dict[str, str]:
    """sha256 of everything that must not vary: shards, manifest, header, pictures of what was refused."""
    files = [*out.glob("*.tar"), out / store.MANIFEST, out / store.HEADER, *(out / "quarantine").glob("*/*.jpg")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


@pytest.fixture
def pictures(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Six pieces of one photograph; one of them too small."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(5):
        cv2.imwrite(str(folder / f"{index}.png"), astronaut[60 * index : 60 * index + 90, 40 * index : 40 * index + 100, ::-1])
    cv2.imwrite(str(folder / "small.png"), astronaut[:70, :70, ::-1])
    return folder


FRAME = Frame(size=160, max_upscale=2.0)
LATE = Odd(setting=1)
AUGMENT = Augment(copies=1, photometry=Photometry())


@pytest.mark.parametrize("place", range(3))
def test_an_image_changing_stage_anywhere_is_replayed_where_it_stands(pictures: Path, tmp_path: Path, place: int) -> None:
    stages = [FRAME, AUGMENT]
    stages.insert(place, Tint())
    before = Recipe("test", (*stages, Odd(setting=0)))
    after = Recipe("test", (*stages, LATE))
    run(pictures, tmp_path / "changed", before)
    run(pictures, tmp_path / "changed", after, update=True)
    assert set(stages_run(tmp_path / "changed")) & {"frame", "augment", "tint"} == set()
    run(pictures, tmp_path / "fresh", after)
    assert digests(tmp_path / "changed") == digests(tmp_path / "fresh")
    assert any(name.startswith("quarantine/upscaled_too_much") for name in digests(tmp_path / "fresh"))


def stages_run(out: Path) -> list[str]:
    return list(json.loads((out / "run.json").read_bytes())["stages"])


@pytest.mark.slow
@pytest.mark.parametrize("place", range(7))
def test_a_tint_anywhere_among_the_stages_of_heads_is_replayed(tmp_path: Path, astronaut: np.ndarray, place: int) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "astronaut.png"), astronaut[..., ::-1])
    cv2.imwrite(str(folder / "nobody.png"), astronaut[400:, :100, ::-1])
    heads = preset("heads").override(["matte.composite=mean"])
    stages = list(heads.stages)
    stages.insert(place, Tint())
    plain = dataclasses.replace(heads, stages=tuple(stages))
    late = plain.override(["estimate_camera.max_residual=0.07"])
    run(folder, tmp_path / "changed", plain)
    run(folder, tmp_path / "changed", late, update=True)
    assert "detect" not in stages_run(tmp_path / "changed") and "estimate_camera" in stages_run(tmp_path / "changed")
    run(folder, tmp_path / "fresh", late)
    assert digests(tmp_path / "changed") == digests(tmp_path / "fresh")


def test_a_stage_that_a_source_makes_needless_is_not_remade(pictures: Path, tmp_path: Path) -> None:
    """The crop of a shard is taken as it is; cutting it again from the photograph would undo what came before."""
    run(pictures, tmp_path / "first", Recipe("test", (FRAME, Tint())))
    stages = (Tint(), FRAME)
    run(tmp_path / "first", tmp_path / "changed", Recipe("test", (*stages, Odd())))
    run(tmp_path / "first", tmp_path / "changed", Recipe("test", (*stages, LATE)), update=True)
    run(tmp_path / "first", tmp_path / "fresh", Recipe("test", (*stages, LATE)))
    assert digests(tmp_path / "changed") == digests(tmp_path / "fresh")


@pytest.mark.parametrize(("deed", "message"), [("in place", "read-only"), ("photo", "replaced `photo`")])
def test_changes_that_the_cache_cannot_see_are_refused(pictures: Path, tmp_path: Path, deed: str, message: str) -> None:
    run(pictures, tmp_path / "out", Recipe("test", (FRAME, Blunder(deed=deed))), abort_share=2.0)
    details = {row["detail"] for row in rows(tmp_path / "out") if row["stage"] == "blunder"}
    assert len(details) == 1 and message in details.pop()


def rows(out: Path) -> list[dict]:
    return store.read(out).table.to_pylist()


@pytest.mark.parametrize("lost", ["DELETE FROM members", "DELETE FROM stages", "UPDATE members SET payload=x'00'", "swapped"])
def test_lost_or_foreign_cache_records_are_made_again_in_the_same_run(pictures: Path, tmp_path: Path, lost: str) -> None:
    out = tmp_path / "out"
    run(pictures, out, Recipe("test", (FRAME,)))
    before = digests(out)
    with sqlite3.connect(out / ".state" / "cache.sqlite") as db:
        places = [row[0] for row in db.execute("SELECT place FROM members ORDER BY place")]
        swap = "UPDATE members SET payload=(SELECT payload FROM members WHERE place=?) WHERE place=?"
        db.execute(*((swap, (places[0], places[1])) if lost == "swapped" else (lost,)))
    (out / "train-000000.tar").unlink()
    gone = {"DELETE FROM stages": 0, "swapped": 1}.get(lost, 5)
    assert run(pictures, out, Recipe("test", (FRAME,))).worked == gone
    assert digests(out) == before


def test_lost_pictures_of_refused_heads_are_made_again_in_the_same_run(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pictures, out, Recipe("test", (FRAME,)))
    before = digests(out)
    shutil.rmtree(out / "quarantine")
    with sqlite3.connect(out / ".state" / "cache.sqlite") as db:
        db.execute("DELETE FROM thumbs")
    (out / store.HEADER).unlink()
    assert run(pictures, out, Recipe("test", (FRAME,))).worked == 1
    assert digests(out) == before


def test_without_the_memory_the_cache_still_answers(pictures: Path, tmp_path: Path) -> None:
    out, counter = tmp_path / "out", tmp_path / "counter"
    counter.mkdir()
    what = Recipe("test", (FRAME, Odd(counter=str(counter))))
    run(pictures, out, what)
    before, made = digests(out), len(list(counter.iterdir()))
    for path in (out / ".state").glob("state.sqlite*"):
        path.unlink()
    run(pictures, out, what)
    assert digests(out) == before and len(list(counter.iterdir())) == made


def test_pictures_of_what_was_refused_follow_the_inputs(pictures: Path, tmp_path: Path) -> None:
    for index in range(3):
        small = np.full((70, 70, 3), 40 * index, np.uint8)
        cv2.imwrite(str(pictures / f"small {index}.png"), small)
    out = tmp_path / "out"
    run(pictures, out, Recipe("test", (FRAME,)))
    assert len(list((out / "quarantine" / "upscaled_too_much").iterdir())) == 4
    for index in range(3):
        (pictures / f"small {index}.png").unlink()
    run(pictures, out, Recipe("test", (FRAME,)))
    run(pictures, tmp_path / "fresh", Recipe("test", (FRAME,)))
    assert digests(out) == digests(tmp_path / "fresh")


def test_a_moved_folder_is_answered_by_what_is_known_of_its_contents(pictures: Path, tmp_path: Path) -> None:
    out, counter = tmp_path / "out", tmp_path / "counter"
    counter.mkdir()
    what = Recipe("test", (FRAME, Odd(counter=str(counter))))
    run(pictures, out, what)
    before, made = digests(out), len(list(counter.iterdir()))
    moved = pictures.rename(tmp_path / "moved")
    assert run(moved, out, what, update=True, engine="local", workers=2).worked == 6
    assert digests(out) == before and len(list(counter.iterdir())) == made


def test_a_shard_that_somebody_wrote_to_is_read_and_made_again(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    what = Recipe("test", (FRAME,), shard_size=2)
    run(pictures, out, what)
    before = digests(out)
    data = bytearray((out / "train-000000.tar").read_bytes())
    data[len(data) // 2] ^= 1
    (out / "train-000000.tar").write_bytes(data)
    assert digests(out) != before
    run(pictures, out, what)
    assert digests(out) == before


@pytest.mark.parametrize("name", [store.MANIFEST, store.HEADER])
def test_a_table_or_header_that_somebody_wrote_to_is_made_again(pictures: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    run(pictures, out, Recipe("test", (FRAME,)))
    before = digests(out)
    data = (out / name).read_bytes()
    (out / name).write_bytes(data.replace(b'"seed": 0', b'"seed": 1') if name == store.HEADER else data[:-9] + data[:9])
    assert digests(out) != before
    run(pictures, out, Recipe("test", (FRAME,)))
    assert digests(out) == before


def test_a_resume_says_what_it_did_not_read_again(pictures: Path, tmp_path: Path) -> None:
    from spherehead.pipeline.console.progress import Silent

    class Listener(Silent):
        said: list[str] = []  # noqa: RUF012

        def message(self, text: str) -> None:
            self.said.append(text)

    request = BuildRequest((str(pictures),), tmp_path / "out", Recipe("test", (FRAME,), shard_size=2), engine="inline")
    build(request, Listener())
    assert not any("not read again" in text for text in Listener.said)
    build(request, Listener())
    assert sum("shards verify" in text and "not read again" in text for text in Listener.said) == 1


def test_a_tint_changes_what_is_kept(astronaut: np.ndarray) -> None:
    """The stage that these tests insert does change pictures, on either side of the crop."""
    from spherehead.datasets.sample import Photo

    photo = Photo.of_pixels(astronaut)
    for image in (None, astronaut):
        sample = Sample("0", photo, image=image, crop=Crop(np.eye(3), 512, 0.0, 1.0))
        (made,) = Tint().open().one(sample, np.random.default_rng(0))
        assert made.image is not None and np.abs(made.image.astype(int) - astronaut).mean() > 10
