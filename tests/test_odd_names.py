"""Names that no file can have, with NUL or half a character in them, are told in one line, or cost their own row of a list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead import cli
from spherehead.datasets.sources.names import storable, to_bytes

NAMES = {"NUL": "x\0y", "half": "x\ud800y"}
SMALL = ("--preset", "frames", "--engine", "inline", "--set", "frame.size=64", "--set", "frame.max_upscale=9", "--no-report")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "in" / "a.png"), noise)
    return tmp_path / "in"


@pytest.mark.parametrize("odd", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize(
    "words",
    [
        "build-dataset {pictures}{odd} --out {out}",
        "build-dataset {pictures} --out {out}{odd}",
        "build-dataset {pictures} --out {out} --state {out}{odd}",
        "build-dataset {pictures} --out {out} --preset {odd}.yaml",
        "build-dataset {pictures}{odd}*.tar --out {out}",
        "build-dataset mesh:{odd} --out {out}",
        "build-dataset video:{odd} --out {out}",
        "plan {pictures}{odd} --out {out}",
        "presets show {odd}",
        "shards ls {out}{odd}",
        "shards verify {out}{odd}",
        "manifest show {out}{odd}",
        "report {out}{odd}",
        "forget {odd} --out {out}",
        "merge {out}{odd} --out {out}",
        "--plugin {odd}.py presets show frames",
    ],
)
def test_a_name_on_the_command_line_that_no_file_has_is_one_line(
    words: str, odd: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [word.format(pictures=pictures, out=tmp_path / "out", odd=odd) for word in words.split()]
    if words.startswith(("build-dataset", "plan")) and "--preset" not in words:
        line += SMALL
    assert cli.main(line) in (2, 3)
    found = capsys.readouterr()
    assert "internal" not in found.err and "\0" not in found.err
    assert sum(text.startswith("error: ") for text in found.err.splitlines()) == 1


def as_csv(name: str) -> bytes:
    return b"path,license\n" + name.encode("utf-8", "surrogatepass") + b",CC0\na.png,CC0\n"


def as_json(name: str) -> bytes:
    return json.dumps({"labels": [[name, None], ["a.png", None]]}).encode()


@pytest.mark.parametrize("odd", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("made", [as_csv, as_json])
def test_a_name_in_a_list_that_no_file_has_costs_its_own_row(
    made: Callable[[str], bytes], odd: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = pictures / f"list.{made.__name__[3:]}"
    file.write_bytes(made(odd))
    assert cli.main(["build-dataset", str(file), "--out", str(tmp_path / "out"), *SMALL]) == 0, capsys.readouterr().err
    rows = {row["path"]: row for row in pq.read_table(tmp_path / "out" / "origins.parquet").to_pylist()}
    assert rows.pop("a.png")["outcome"] == "kept"
    (refused,) = rows.values()
    assert refused["reason"] == "io_error" and refused["detail"].startswith("row 1: ")


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_any_text_has_a_storable_form(text: str) -> None:
    assert isinstance(to_bytes(storable(text)), bytes)
    assert storable(storable(text)) == storable(text)
