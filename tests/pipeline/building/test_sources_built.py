"""What sources hold, through a whole build: names of any bytes and locale, links, lists, and takedowns that name one file."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from spherehead.cli import main
from spherehead.datasets.camera import Camera
from spherehead.manifests import store

SMALL = ["--preset", "frames", "--set", "frame.size=64", "--set", "frame.max_upscale=9", "--engine", "inline", "--no-report"]
LABEL = [float(value) for value in Camera.look_at(0.3, 0.1).label()]


def picture(seed: int) -> bytes:
    import picture_files as files

    colours = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return files.saved(colours.repeat(32, 0).repeat(32, 1), "PNG")


def origins(out: Path) -> dict[str, tuple[str, str, str]]:
    rows = pq.read_table(out / store.ORIGINS).to_pylist()
    return {f"{row['source']}/{row['path']}": (row["outcome"], row["reason"], row["detail"]) for row in rows}


@pytest.fixture
def two(tmp_path: Path, bad_inputs) -> Path:
    """Two folders with a name in common, built into one set."""
    for index, name in enumerate(("a/x.png", "b/x.png", "b/y.png", "b/a/x.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(index))
    assert main(["build-dataset", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out"), *SMALL]) == 0
    return tmp_path / "out"


def test_a_name_of_several_files_is_refused_with_their_places(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", "x.png", "--out", str(two)]) == 2
    told = capsys.readouterr().err
    assert "names 2 files" in told and "a/x.png" in told and "b/x.png" in told
    assert main(["forget", "a/x.png", "--out", str(two)]) == 2  # in a, or in b's own folder a
    assert main(["forget", "b/x.png", "--out", str(two)]) == 0
    assert [outcome for outcome, reason, _ in origins(two).values() if reason == "forgotten"] == ["dropped"]
    assert origins(two)["b/x.png"][1] == "forgotten" and origins(two)["a/x.png"][0] == "kept"
    assert main(["manifest", "verify", str(two)]) == 0


NAMES = [
    b"caf\xe9.png",
    "Ünï.png".encode(),
    unicodedata.normalize("NFD", "ä.png").encode(),
    b"new\nline.png",
    "日本.png".encode(),
]


def at(*parts: bytes) -> Path:
    return Path(os.fsdecode(b"/".join(parts)))


def program(*words: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    settings = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-m", "spherehead", *words], capture_output=True, env=settings, check=False)


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        pytest.param({"LC_ALL": "C"}, marks=pytest.mark.slow),
        pytest.param({"LC_ALL": "C.UTF-8"}, marks=pytest.mark.slow),
    ],
    ids=["ASCII", "C", "UTF-8"],
)
def test_names_of_any_bytes_are_built_and_taken_down_in_every_locale(
    tmp_path: Path, bad_inputs, locale: dict[str, str]
) -> None:
    folder = os.fsencode(tmp_path / "photös")
    at(folder).mkdir()
    for index, name in enumerate(NAMES):
        at(folder, name).write_bytes(picture(index))
    at(folder, b"list.csv").write_bytes(b"path,license\n" + "Ünï.png".encode() + b",CC0\ncaf\xe9.png,CC0\n")
    out = str(tmp_path / "out")
    built = program("build-dataset", folder, folder + b"/list.csv", "--out", out, *SMALL, **locale)
    assert built.returncode == 0, built.stderr
    found = origins(tmp_path / "out")
    assert [row[0] for row in found.values()].count("kept") == len(NAMES)
    assert found["list.csv/Ünï.png"][:2] == found["list.csv/caf\\udce9.png"][:2] == ("kept", "")
    for name in (NAMES[0], "ä.png".encode()):
        gone = program("forget", name, "--out", out, **locale)
        assert gone.returncode == 0, gone.stderr
    lost = program("forget", b"n\xffne.png", "--out", out, **locale)
    assert lost.returncode == 2 and b"nothing in" in lost.stderr and b"Traceback" not in lost.stderr
    assert [row[1] for row in origins(tmp_path / "out").values()].count("forgotten") == 2


def test_a_name_as_the_origins_table_shows_it_can_be_taken_down(tmp_path: Path, bad_inputs) -> None:
    (tmp_path / "photos").mkdir()
    for index, name in enumerate((b"caf\xe9.png", b"b.png")):
        at(os.fsencode(tmp_path / "photos"), name).write_bytes(picture(index))
    assert main(["build-dataset", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), *SMALL]) == 0
    assert main(["forget", "photos/caf\\udce9.png", "--out", str(tmp_path / "out")]) == 0


def test_a_hugging_face_cache_is_built_with_follow_links_and_told_without(tmp_path: Path, bad_inputs) -> None:
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "01", tmp_path / "hub" / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for index in range(3):
        (blobs / f"{index}").write_bytes(picture(index))
        (snapshot / f"{index}.png").symlink_to(f"../../blobs/{index}")
    (snapshot / "loop").symlink_to(".")
    out = tmp_path / "out"
    assert main(["build-dataset", str(snapshot), "--out", str(out), *SMALL]) == 6
    assert all("--follow-links" in detail for _, _, detail in origins(out).values())
    assert main(["build-dataset", str(snapshot), "--out", str(out), "--follow-links", *SMALL]) == 2  # other settings
    assert main(["build-dataset", str(snapshot), "--out", str(out), "--follow-links", "--update", *SMALL]) == 0
    assert sorted(row[:2] for row in origins(out).values()) == [("kept", "")] * 3 + [("not_image", "special_file")]
    assert "a loop" in origins(out)["01/loop/"][2]
    assert main(["plan", str(snapshot), "--out", str(out), "--follow-links", *SMALL]) == 0


def test_eg3ds_dataset_json_is_a_list_of_aligned_pictures(tmp_path: Path, bad_inputs) -> None:
    (tmp_path / "00000").mkdir()
    for index in range(2):
        (tmp_path / "00000" / f"{index}.png").write_bytes(picture(index))
    labels = [["00000/0.png", LABEL], ["00000/1.png", LABEL], ["00000/gone.png", LABEL], ["00000/1.png"]]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    line = ["build-dataset", str(tmp_path / "dataset.json"), "--out", str(tmp_path / "out"), "--preset", "aligned"]
    code = main([*line, "--set", "frame.size=64", "--set", "frame.max_upscale=9", "--engine", "inline", "--no-report"])
    rows = pq.read_table(tmp_path / "out" / store.MANIFEST).to_pylist()
    assert code in (0, 6)  # coloured squares show no head: what counts is what became of the labels
    assert [row[1] for row in origins(tmp_path / "out").values()].count("io_error") == 2
    assert all(row["reason"] not in ("camera_invalid", "sidecar_mismatch") for row in rows) and len(rows) == 2


def test_a_photograph_listed_with_two_licences_is_told(tmp_path: Path, bad_inputs, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("1.png", "2.png", "copy of 1.png"):
        (tmp_path / name).write_bytes(picture(int(name == "2.png")))
    with (tmp_path / "list.csv").open("w", newline="") as file:
        rows = [
            ("1.png", "CC0"),
            ("2.png", "CC0"),
            ("1.png", "all rights reserved"),
            ("2.png", "CC0"),
            ("copy of 1.png", "CC BY"),
        ]
        csv.writer(file).writerows([("path", "license"), *rows])
    assert main(["build-dataset", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out"), *SMALL]) == 0
    told = pq.read_table(tmp_path / "out" / store.ORIGINS).to_pylist()
    details = sorted(row["detail"] for row in told)
    assert details == [
        "",
        "",
        "",
        *(f"listed here with license {text!r}, taken is 'CC BY'" for text in ("CC0", "all rights reserved")),
    ]
    assert "1 photograph is listed with different rights" in capsys.readouterr().err
