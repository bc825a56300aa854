"""The parser's word on beards: the same mirrored, none on faces that have none, and nothing of networks that do not tell it."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import onnx
from spherehead.datasets.classes import INDEX
from spherehead.datasets.sample import Photo, Sample
from spherehead.model.annotators.beards import without_beard
from spherehead.pipeline.annotators.heads import files
from spherehead.pipeline.annotators.heads.parser import HeadParser
from spherehead.pipeline.annotators.heads.parsing import beard_of
from spherehead.pipeline.stages.parse import Parse


def crop_of(astronaut: np.ndarray) -> np.ndarray:
    """The head about as `align` cuts it out."""
    return np.asarray(cv2.resize(astronaut[10:220, 120:330], (256, 256), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def parsed(crop: np.ndarray, networks: str = "", beards: bool = False) -> Sample:
    cover = cv2.resize(HeadParser().read(crop).alpha, crop.shape[1::-1])
    mask = np.where(cover > 0.5, np.uint8(255), np.uint8(0))
    sample = Sample("a" * 16, Photo.of_pixels(crop), image=crop, mask=mask)
    (out,) = Parse(parser="own", networks=networks, beards=beards).open().one(sample, np.random.default_rng(0))
    return out


def test_a_mirrored_crop_has_the_mirrored_beard(astronaut: np.ndarray) -> None:
    parser, crop = HeadParser(), crop_of(astronaut)
    here, there = parser.read(crop).beard, parser.read(np.ascontiguousarray(crop[:, ::-1])).beard
    assert here is not None and there is not None and here.shape == (128, 128)
    assert np.abs(there[:, ::-1] - here).max() < 1e-4 and 0.0 <= here.min() <= here.max() <= 1.0


def test_a_face_without_beard_has_hardly_any(astronaut: np.ndarray) -> None:
    scores = parsed(crop_of(astronaut)).scores
    assert scores["area_hair"] > 0.1 and scores["beard_share"] < 0.002


def test_beard_is_where_hair_is_more_likely_beard_than_not() -> None:
    classes = np.full((64, 64), INDEX["skin"], dtype=np.uint8)
    classes[:20] = classes[40:50] = INDEX["hair"]
    chance = np.zeros((16, 16), dtype=np.float32)
    chance[8:] = 0.9
    beard = beard_of(classes, chance)
    assert set(np.unique(beard)) == {0, 255} and (beard[40:50] == 255).all() and int((beard > 0).sum()) == 640


def test_a_network_of_before_tells_no_share(astronaut: np.ndarray, tmp_path: Path) -> None:
    data = without_beard(onnx.load(str(files.path_of("parser")))).SerializeToString()
    (tmp_path / "parser.onnx").write_bytes(data)
    (tmp_path / "parser.json").write_text(json.dumps({"sha256": sha256(data).hexdigest()}))
    crop = cv2.resize(crop_of(astronaut), (192, 192), interpolation=cv2.INTER_AREA)
    old, new = parsed(crop, str(tmp_path)), parsed(crop)
    assert "beard_share" not in old.scores and new.scores["beard_share"] >= 0.0
    assert np.array_equal(old.parsing, new.parsing)


def test_the_map_is_there_where_it_is_asked_for_and_its_share_always(astronaut: np.ndarray) -> None:
    crop = crop_of(astronaut)
    asked, plain = parsed(crop, beards=True), parsed(crop)
    assert plain.beard is None and plain.scores == asked.scores and asked.beard is not None and asked.beard.shape == (256, 256)
    assert asked.scores["beard_share"] == round(float((asked.beard > 0).mean()), 6)
    assert (asked.parsing[asked.beard > 0] == INDEX["hair"]).all()
