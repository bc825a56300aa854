"""Sidecar files of cameras: each format, each key, and each way of being wrong."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import Head, Photo, Sample
from spherehead.datasets.sources.camera_sidecar import LABEL as GIVEN
from spherehead.datasets.sources.camera_sidecar import SidecarError, file_sha256, look_up, read_cameras

LABEL = [float(value) for value in Camera.look_at(0.3, 0.1).label()]


def sample(num_heads: int = 1) -> Sample:
    photo = Photo.of_pixels(np.zeros((4, 4, 3), np.uint8), sha256="ab" * 32, path="a/b.jpg")
    return Sample("0123456789abcdef", photo, head=Head((0, 0, 1, 1), 1.0, "mesh", 0.0, num_heads=num_heads))


def write(path: Path, kind: str) -> Path:
    if kind == "json":
        path.write_text(json.dumps({"a/b.jpg": LABEL}))
    elif kind == "eg3d.json":
        path.write_text(json.dumps({"labels": [["a/b.jpg", LABEL]]}))
    elif kind == "columns.csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([["path", *map(str, range(25))], ["a/b.jpg", *map(str, LABEL)]])
    elif kind == "label.csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["path", "label"], ["a/b.jpg", json.dumps(LABEL)]])
    else:
        pd.DataFrame({"path": ["a/b.jpg"], "label": [LABEL]}).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["json", "eg3d.json", "columns.csv", "label.csv", "label.parquet"])
def test_every_format_gives_the_same_numbers(tmp_path: Path, kind: str) -> None:
    cameras = read_cameras(str(write(tmp_path / f"cameras.{kind.rsplit('.', 1)[-1]}", kind)))
    assert cameras == {"a/b.jpg": tuple(LABEL)}


def test_a_sample_is_found_by_id_then_sha256_then_path() -> None:
    by_path, by_sha, by_id = (tuple([float(n)] * 25) for n in (1, 2, 3))
    cameras = {"a/b.jpg": by_path}
    assert look_up(cameras, sample()) is None  # paths are matched where the inputs are listed
    given = dataclasses.replace(sample().photo.source, sidecar={GIVEN: json.dumps(by_path)})
    photo = Photo(given, "ab" * 32, sample().photo.info, lambda: (np.zeros((4, 4, 3), np.uint8), None))
    assert look_up({}, sample().with_(photo=photo)) == by_path
    assert look_up({**cameras, "ab" * 32: by_sha}, sample()) == by_sha
    assert look_up({**cameras, "ab" * 32: by_sha, "0123456789abcdef": by_id}, sample()) == by_id
    assert look_up({}, sample()) is None


def test_a_photograph_of_several_heads_is_not_given_one_camera() -> None:
    assert look_up({"a/b.jpg": tuple(LABEL)}, sample(num_heads=2)) is None
    assert look_up({"0123456789abcdef": tuple(LABEL)}, sample(num_heads=2)) == tuple(LABEL)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.json", "{", "cannot read cameras from c.json"),
        ("c.json", "[1]", "row 1: expected [key, camera]"),
        ("c.json", json.dumps({"x": LABEL[:16]}), "got 16"),
        ("c.json", json.dumps({"x": ["a"] * 25}), "row 1: expected 25 numbers"),
        ("c.csv", "name,label\nx,[1]\n", "expected a column id | sha256"),
        ("c.csv", "path;label\nx;1;2\n", "row 1: expected 2 cells, got 3"),
        ("c.csv", "path,label\nx,[1]\ny\n", "row 1: expected 25 numbers"),
        ("c.csv", "path,label\ny\n", "row 1: expected 2 cells, got 1"),
        ("c.csv", "path,path,label\na,b,1\n", "two columns for path"),
        ("c.csv", "path,label\n,1\n", "expected a key"),
        ("c.json", "[" * 100_000, "nested too deeply"),
        ("c.json", '{"a": [1], "a": [2]}', "'a' stands in it twice"),
        ("c.json", json.dumps({"labels": [["a", LABEL], ["a", LABEL[::-1]]]}), "'a' stands twice"),
        ("c.json", json.dumps({"labels": None}), "expected an object"),
        ("c.csv", "path,yaw\nx,1\n", "columns '0' to '24'"),
        ("c.parquet", "not parquet", "cannot read cameras from c.parquet"),
        ("c.txt", "", "expected a sidecar of .json"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_what_was_expected(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SidecarError) as caught:
        read_cameras(str(path))
    assert words in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match=r"found none; check estimate_camera\.sidecar"):
        read_cameras(str(tmp_path / "none.json"))


def test_the_hash_is_of_the_content_and_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    for text in ("{}", '{"a": 1}'):
        path.write_text(text)
        assert file_sha256(str(path)) == hashlib.sha256(text.encode()).hexdigest()
