"""The words of a refusal hold no address, no clock and no object: the same bytes are refused in the same words everywhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.datasets.images.decode import DecodePolicy, decode
from spherehead.datasets.sample import Drop, without_addresses, wording

OBJECT = re.compile(r" at 0x|object at|\b0x[0-9a-fA-F]{7,}|<[\w.]+ [^>]*>|\d{2}:\d{2}:\d{2}")
POLICY = DecodePolicy(max_pixels=4_000_000)


def words(data: bytes) -> str:
    try:
        decode(data, POLICY)
    except Drop as drop:
        return f"{drop.reason}: {drop.detail}"
    return ""


def check(data: bytes) -> None:
    first, second = words(data), words(data[:1] + data[1:])
    assert first == second and not OBJECT.search(first) and "\n" not in first


def test_every_bad_input_is_refused_in_the_same_words(bad_inputs):
    for case in bad_inputs.cases():
        check(case.data)


def test_every_failing_file_is_refused_in_the_same_words(shared):
    for path in sorted((shared / "failing").rglob("*")):
        if path.is_file():
            check(path.read_bytes())


@pytest.mark.parametrize("name", ["avif", "heic", "webp", "gif", "jp2", "bmp", "ppm", "tif"])
def test_a_header_that_no_decoder_knows_is_told_without_the_object_that_held_it(name):
    start = {"avif": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf", "heic": b"\x00\x00\x00\x18ftypheic" + bytes(8),
             "webp": b"RIFF\x40\x00\x00\x00WEBPVP8 ", "gif": b"GIF89a", "jp2": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
             "bmp": b"BM" + bytes(12) + b"\x28", "ppm": b"P6\n9 9\n", "tif": b"II*\x00"}[name]  # fmt: skip
    check(start + bytes(500))
    assert words(start + bytes(500))


@given(
    st.text(max_size=60), st.integers(0x10000000, 0x7FFFFFFFFFFF), st.sampled_from(["_io.BytesIO object", "function f", "X"])
)
def test_addresses_are_taken_out_of_any_text(text, address, what):
    found = wording(ValueError(f"{text} <{what} at {address:#x}> {address:#x}"))
    assert f"{address:x}" not in found or f"{address:x}" in text
    assert without_addresses(f"marker 0x72 {text.replace('0x', '')}") == f"marker 0x72 {text.replace('0x', '')}"
    assert Drop("truncated", f"<{what} at {address:#x}>").detail == f"<{what.split()[0]}>"


def test_an_exception_without_words_is_named():
    assert wording(KeyError(259)) == "KeyError 259" and wording(MemoryError()) == "MemoryError"
    assert wording(ValueError("two\n words  here")) == "two words here"
