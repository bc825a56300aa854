"""Samples come back from their members, and labels to the last bit."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import Photo, Sample
from spherehead.datasets.shards import codec


def _sample(image: np.ndarray) -> Sample:
    size = image.shape[0]
    ramp = np.tile(np.linspace(0, 255, size).astype(np.uint8), (size, 1))
    return Sample(
        "ab" * 8, Photo.of_pixels(image), image=image, mask=ramp, parsing=ramp % 19, camera=Camera.look_at(0.3, -0.2, 0.1),
        beard=np.where(ramp % 19 == 17, np.uint8(255), np.uint8(0)),
    )  # fmt: skip


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_lossless_formats_return_every_pixel(suffix: str, astronaut: np.ndarray) -> None:
    sample = _sample(astronaut[:128, :128])
    decoded = codec.decode_members(sample.id, codec.encode_members(sample, codec.Encoding(image=suffix)))
    assert (decoded.image == sample.image).all()
    assert (decoded.mask == sample.mask).all() and (decoded.parsing == sample.parsing).all()
    assert (decoded.beard == sample.beard).all() and sample.beard.any()
    assert codec.decode_members(sample.id, codec.encode_members(sample.with_(beard=None), codec.Encoding())).beard is None


def test_jpeg_keeps_chroma_resolution_and_colour_order(astronaut: np.ndarray) -> None:
    data = codec.encode_image(astronaut, codec.Encoding())
    start = data.index(b"\xff\xc0")
    assert [data[start + 11 + 3 * i] for i in range(3)] == [0x11, 0x11, 0x11]  # sampling factors in the frame header
    difference = codec.decode_image(data).astype(int) - astronaut
    assert np.abs(difference).mean() < 2.5 and np.abs(difference.mean(axis=(0, 1))).max() < 0.5


@given(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1))
def test_label_comes_back_bit_for_bit(yaw: float, pitch: float, roll: float) -> None:
    camera = Camera.look_at(yaw, pitch, roll)
    read = Camera.from_label(np.array(json.loads(codec.camera_json(camera))))
    assert (read.label() == camera.label()).all()


def test_encoding_is_deterministic(astronaut: np.ndarray) -> None:
    sample = _sample(astronaut)
    assert codec.encode_members(sample, codec.Encoding()) == codec.encode_members(sample, codec.Encoding())


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"mask.png": b""}, "expected one of jpg, webp, png"),
        ({"jpg": b"no picture"}, "member jpg: .*do not decode"),
        (
            {"jpg": codec.encode_image(np.zeros((8, 8, 3), np.uint8), codec.Encoding()), "cam.json": b"[1, 2]"},
            "cam.json: expected 25",
        ),
        (
            {
                "jpg": codec.encode_image(np.zeros((8, 8, 3), np.uint8), codec.Encoding()),
                "mask.png": bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1]),
            },
            "mask.png: expected an 8-bit grey",
        ),
    ],
)
def test_a_bad_member_is_named(members: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s)sample key.*{message}"):
        codec.decode_members("key", members)
