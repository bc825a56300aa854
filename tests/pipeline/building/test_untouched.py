"""EG3D data sets through a build and out again: every pixel and every float32 of the labels as it was, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spherehead.cli import main
from spherehead.datasets.camera import Camera
from spherehead.datasets.shards.inspect import iterate
from spherehead.manifests.store import file_sha256

SIDE = 80
BUILD = ["--preset", "untouched", "--engine", "inline", "--no-report"]


def label_of(index: int) -> list[float]:
    """A label as EG3D writes it: float64 digits, and an axis that misses the origin, as its `orig` mode leaves it."""
    camera = Camera.look_at(0.4 * index - 0.9, 0.05 * index, 0.02 * index)
    turn = Camera.look_at(0.01, 0.013).cam2world[:3, :3]
    cam2world = camera.cam2world.copy()
    cam2world[:3, :3] = turn @ cam2world[:3, :3]
    return [float(value) for value in (*cam2world.ravel(), *camera.intrinsics.ravel())]


def eg3d_set(path: Path, count: int = 5, masks: Path | None = None, form: str = "png", text: bool = False) -> Path:
    """Write a zip or folder as EG3D's tool does: numbered pictures of noise and dataset.json."""
    files, labels, covers = {}, [], {}
    for index in range(count):
        rng = np.random.default_rng(index)
        name = f"{index // 2:05d}/img{index:08d}.{form}"
        stream, cover = io.BytesIO(), io.BytesIO()
        picture = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        picture.save(stream, form.replace("jpg", "jpeg"), **({"quality": 100} if form == "jpg" else {}))
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(cover, "png")
        files[name], covers[f"{name.rpartition('.')[0]}.png"] = stream.getvalue(), cover.getvalue()
        labels.append([name, [str(value) for value in label_of(index)] if text else label_of(index)])
    files["dataset.json"] = json.dumps({"labels": labels}).encode()
    for place, content in ((path, files), (masks, covers)):
        if place is not None:
            _write(place, content)
    return path


def _write(place: Path, files: dict[str, bytes]) -> None:
    if place.suffix == ".zip":
        with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)


def read_as_eg3d(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read pictures and float32 labels as the published loaders do: by PIL, exact names, in a zip."""
    with zipfile.ZipFile(path) as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        plain = json.loads(archive.read("dataset.json"))
        pictures = {
            name: np.array(Image.open(io.BytesIO(archive.read(name))))
            for name in sorted(archive.namelist())
            if Path(name).suffix in Image.registered_extensions()
        }
    return pictures, {name: np.array(numbers).astype(np.float32) for name, numbers in plain["labels"]}


@pytest.mark.parametrize(("form", "text"), [("png", False), ("png", True), ("jpg", False)])
def test_a_zip_comes_back_with_every_pixel_and_every_bit_of_its_labels(tmp_path: Path, form: str, text: bool) -> None:
    source = eg3d_set(tmp_path / "in.zip", masks=tmp_path / "masks.zip", form=form, text=text)
    where = f"eg3d:{source},masks={tmp_path / 'masks.zip'}"
    assert main(["build-dataset", where, "--out", str(tmp_path / "set"), *BUILD]) == 0
    assert main(["shards", "verify", str(tmp_path / "set"), "--deep"]) == 0
    words = ["export", str(tmp_path / "set"), "--format", "eg3d", "--names", "original"]
    out, covers = tmp_path / "out.zip", tmp_path / "out-masks.zip"
    assert main([*words, "--out", str(out), "--masks", str(covers)]) == 0
    before, labels = read_as_eg3d(source)
    after, again = read_as_eg3d(out)
    assert [name.rpartition(".")[0] for name in after] == [name.rpartition(".")[0] for name in before]
    for (name, first), (other, second) in zip(before.items(), after.items(), strict=True):
        assert np.array_equal(first, second)
        assert labels[name].tobytes() == again[other].tobytes()
    with zipfile.ZipFile(tmp_path / "masks.zip") as old, zipfile.ZipFile(covers) as new:
        assert sorted(new.namelist()) == sorted(old.namelist())
        for name in old.namelist():
            assert np.array_equal(*(np.array(Image.open(io.BytesIO(archive.read(name)))) for archive in (old, new)))
    # what came out is itself a source that gives the same set, and the same export the same bytes
    assert main(["build-dataset", f"eg3d:{out}", "--out", str(tmp_path / "two"), *BUILD]) == 0
    assert {a.id: a.image.tobytes() for a in iterate(tmp_path / "two")}.keys()
    assert main([*words, "--out", str(tmp_path / "again.zip")]) == 0
    assert file_sha256(tmp_path / "again.zip") == file_sha256(out)


def test_a_folder_is_read_like_a_zip_and_numbered_names_are_those_of_the_tool(tmp_path: Path) -> None:
    for name in ("folder", "in.zip"):
        source = eg3d_set(tmp_path / name)
        assert main(["build-dataset", f"eg3d:{source}", "--out", str(tmp_path / f"{name}-set"), *BUILD]) == 0
        words = ["export", str(tmp_path / f"{name}-set"), "--format", "eg3d", "--out", str(tmp_path / f"{name}-out.zip")]
        assert main(words) == 0
    assert file_sha256(tmp_path / "folder-out.zip") == file_sha256(tmp_path / "in.zip-out.zip")
    pictures, labels = read_as_eg3d(tmp_path / "in.zip-out.zip")
    assert list(pictures) == list(labels) == [f"00000/img{index:08d}.png" for index in range(5)]
    before, told = read_as_eg3d(tmp_path / "in.zip")
    pairs = {picture.tobytes(): told[name].tobytes() for name, picture in before.items()}
    assert {picture.tobytes(): labels[name].tobytes() for name, picture in pictures.items()} == pairs


def test_names_without_folders_find_pictures_in_folders(tmp_path: Path) -> None:
    """PanoHead's crop scripts write base names only."""
    source = eg3d_set(tmp_path / "set")
    plain = json.loads((source / "dataset.json").read_text())
    plain["labels"] = [[Path(name).name, label] for name, label in plain["labels"]]
    (source / "dataset.json").write_text(json.dumps(plain))
    assert main(["build-dataset", f"eg3d:{source / 'dataset.json'}", "--out", str(tmp_path / "out"), *BUILD]) == 0
    assert len(list(iterate(tmp_path / "out"))) == 5


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow.parquet as pq

    source = eg3d_set(tmp_path / "set")
    plain = json.loads((source / "dataset.json").read_text())
    rows = plain["labels"]
    rows[0][1] = rows[0][1][:24]
    wrong = Camera.look_at(0.2, 0.1).cam2world @ np.diag([1.0, -1, -1, 1])  # OpenGL's axes
    rows[1][1] = [*wrong.ravel().tolist(), *rows[1][1][16:]]
    rows[2][0] = "00009/absent.png"
    (source / "dataset.json").write_text(json.dumps(plain))
    assert main(
        ["build-dataset", f"eg3d:{source}", "--out", str(tmp_path / "out"), *BUILD, "--set", "keep.policy=canonical"]
    ) in (0, 6)
    rows = pq.read_table(tmp_path / "out" / "origins.parquet").to_pylist()
    told = {Path(row["path"]).name: (row["reason"], row["detail"]) for row in rows}
    assert told["img00000000.png"] == ("camera_invalid", "expected 25 numbers for a label, got 24 values")
    assert "OpenGL axes" in told["img00000001.png"][1]
    assert told["img00000002.png"][0] == "sidecar_mismatch" and "no label" in told["img00000002.png"][1]
    assert told["absent.png"] == ("io_error", "dataset.json names it, and there is no such picture")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"labels": null}', "writes null where a single picture"),
        (b"{", "cannot read dataset.json"),
        (b'{"labels": [["a.png"]]}', "expected [name, [25 numbers]]"),
        (None, "expected dataset.json at the top"),
    ],
)
def test_a_data_set_without_labels_says_so(
    tmp_path: Path, content: bytes | None, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = eg3d_set(tmp_path / "set")
    (source / "dataset.json").unlink()
    if content is not None:
        (source / "dataset.json").write_bytes(content)
    assert main(["build-dataset", f"eg3d:{source}", "--out", str(tmp_path / "out"), *BUILD]) == 2
    assert text in capsys.readouterr().err


def test_nothing_that_lies_there_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = eg3d_set(tmp_path / "in.zip")
    assert main(["build-dataset", f"eg3d:{source}", "--out", str(tmp_path / "set"), *BUILD]) == 0
    before = file_sha256(source)
    assert main(["export", str(tmp_path / "set"), "--format", "eg3d", "--out", str(source)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert file_sha256(source) == before
    assert main(["export", str(tmp_path / "set"), "--format", "eg3d", "--out", str(tmp_path / "x"), "--split", "none"]) == 2
    assert main(["export", str(tmp_path / "set"), "--format", "egd3", "--out", str(tmp_path / "x")]) == 2
    assert "did you mean 'eg3d'" in capsys.readouterr().err
