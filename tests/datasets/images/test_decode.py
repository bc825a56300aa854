"""Every picture decodes to the right pixels or is refused with the right reason, and nothing else ever happens."""

from __future__ import annotations

import functools
import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spherehead.datasets.images.decode import DecodePolicy, decode, probe
from spherehead.datasets.sample import Drop

POLICY = DecodePolicy()
MAGIC = (b"", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\x00", b"MM\x00*", b"BM", b"P6\n", b"RIFF0000WEBPVP8 ")


def outcome(data, policy=POLICY):
    try:
        return "ok", decode(data, policy)
    except Drop as drop:
        return drop.reason, None


def distance(case, pixels):
    if pixels.shape != case.truth.shape:
        return float("inf")
    gap = np.abs(pixels.astype(int) - case.truth)
    return float(np.percentile(gap, 99)) if case.tolerance else float(gap.max())


def test_every_file_gives_its_reason_or_its_pixels(bad_inputs):
    wrong = {}
    for case in bad_inputs.cases():
        reason, found = outcome(case.data)
        if reason != case.expected:
            wrong[case.name] = f"expected {case.expected}, got {reason}"
        elif found is not None and case.truth is not None and distance(case, found.pixels) > case.tolerance:
            wrong[case.name] = f"pixels are off by {distance(case, found.pixels)} levels, allowed {case.tolerance}"
        elif found is not None and not set(case.flags) <= set(found.info.flags):
            wrong[case.name] = f"expected the flags {case.flags}, got {found.info.flags}"
    assert wrong == {}


def test_pixels_are_contiguous_rgb_of_the_size_that_was_announced(bad_inputs):
    for case in bad_inputs.cases():
        found = outcome(case.data)[1]
        if found is None:
            continue
        info = probe(case.data, POLICY)
        assert found.pixels.shape == (info.height, info.width, 3), case.name
        assert found.pixels.dtype == np.uint8 and found.pixels.flags.c_contiguous, case.name
        assert found.alpha is None or found.alpha.shape == found.pixels.shape[:2], case.name
        # what the header says stays said; pixels can only add to it
        assert set(info.flags) - {"alpha"} <= set(found.info.flags), case.name
        assert (info.format, info.orientation, info.num_frames) == (
            found.info.format, found.info.orientation, found.info.num_frames,
        ), case.name  # fmt: skip


def test_orientation_is_applied_once_and_exactly(bad_inputs):
    import picture_files as files

    base = files.portrait()
    for orientation in range(1, 9):
        stored = files.stored_for(base, orientation)
        plain = decode(files.jpeg(stored), POLICY).pixels
        turned = decode(files.jpeg(stored, exif=files.exif(orientation)), POLICY)
        # the slow twin: send the plainly decoded picture back through the table
        assert np.array_equal(files.stored_for(turned.pixels, orientation), plain)
        assert (turned.info.width, turned.info.height, turned.info.orientation) == (320, 400, orientation)


def test_num_frames_are_counted_and_the_first_is_taken(bad_inputs):
    frames = {case.name: decode(case.data, POLICY).info.num_frames for case in bad_inputs.cases() if "frames/" in case.name}
    assert frames == dict.fromkeys(frames, 2) and len(frames) == 4


def test_jpeg_quality_is_read_from_the_tables(bad_inputs):
    import picture_files as files

    small = files.portrait()[:80, :80]
    for quality in (10, 25, 50, 75, 90, 95, 99):
        assert probe(files.jpeg(small, quality), POLICY).jpeg_quality == pytest.approx(quality, abs=1.0)
    assert probe(files.saved(small, "PNG"), POLICY).jpeg_quality == 0.0


def test_cmyk_uses_its_profile_where_there_is_one(bad_inputs):
    import picture_files as files
    from PIL import Image

    # the profile says L* = 80 (1 - K) for black ink alone (CIE 1976: Y = ((L* + 16) / 116)^3); the plain formula says 255 - K
    for black in (40, 128, 200):
        inks = Image.new("CMYK", (96, 96), (0, 0, 0, black))
        found = decode(files.saved(inks, "JPEG", quality=95, icc_profile=files.cmyk_profile()), POLICY)
        light = ((80 * (1 - black / 255) + 16) / 116) ** 3
        level = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
        assert {"cmyk", "icc_converted"} <= set(found.info.flags)
        assert np.abs(found.pixels - level).max() <= 2 and abs(level - (255 - black)) > 10
        plain = decode(files.saved(inks, "JPEG", quality=95), POLICY)
        assert np.abs(plain.pixels.astype(int) - (255 - black)).max() <= 1


def test_transparency_is_laid_over_the_wanted_background(bad_inputs):
    import picture_files as files

    colours = np.full((70, 70, 3), (10, 200, 90), np.uint8)
    alpha = np.tile(np.arange(70, dtype=np.uint8) * 3, (70, 1))
    found = decode(files.saved(np.dstack([colours, alpha]), "PNG"), DecodePolicy(background=(0, 64, 255)))
    share = alpha[..., None] / 255.0
    assert np.array_equal(found.pixels, np.floor(colours * share + np.array([0, 64, 255]) * (1 - share) + 0.5))
    assert np.array_equal(found.alpha, alpha)


def test_a_lenient_policy_keeps_damaged_pictures_and_says_so(bad_inputs):
    damaged = {case.name: case.data for case in bad_inputs.cases()}
    for name in ("damaged/flipped.jpg", "damaged/shifted.jpg", "damaged/zeroed_block.jpg", "damaged/loss_saved_again.jpg"):
        found = decode(damaged[name], DecodePolicy(strict=False))
        assert "corrupt_stream" in found.info.flags, name


def test_salvaging_needs_the_required_share_of_rows(bad_inputs):
    whole = {case.name: case.data for case in bad_inputs.cases()}["formats/plain.jpg"]
    cut = whole[: int(0.8 * len(whole))]
    with pytest.raises(Drop, match="truncated"):
        decode(cut, POLICY)
    with pytest.raises(Drop, match="of the rows are there < 99 %"):
        decode(cut, DecodePolicy(salvage_truncated=99))
    found = decode(cut, DecodePolicy(salvage_truncated=50))
    assert "salvaged" in found.info.flags
    rows = slice(0, 200)
    assert np.array_equal(found.pixels[rows], decode(whole, POLICY).pixels[rows])


@pytest.mark.parametrize("name", ["colours/cmyk.jpg", "colours/ycck.jpg"])
def test_inks_are_salvaged_as_colours_are(bad_inputs, name):
    whole = {case.name: case.data for case in bad_inputs.cases()}[name]
    cut = whole[: int(0.8 * len(whole))]
    with pytest.raises(Drop, match="of the rows are there < 99 %"):
        decode(cut, DecodePolicy(salvage_truncated=99))
    found, rows = decode(cut, DecodePolicy(salvage_truncated=50)), slice(0, 180)
    assert "salvaged" in found.info.flags and "corrupt_stream" not in found.info.flags
    assert np.array_equal(found.pixels[rows], decode(whole, POLICY).pixels[rows])


def test_grey_pictures_are_refused_on_wish_however_they_are_stored(bad_inputs):
    policy = DecodePolicy(drop_grey=True)
    for case in bad_inputs.cases():
        if "grey" in case.name and case.expected == "ok":
            assert outcome(case.data, policy)[0] == "greyscale", case.name
    assert outcome({case.name: case.data for case in bad_inputs.cases()}["formats/plain.jpg"], policy)[0] == "ok"


def test_limits_refuse_by_the_header_alone(bad_inputs):
    import picture_files as files

    data = files.jpeg(files.portrait())
    assert outcome(data, DecodePolicy(max_pixels=128_000))[0] == "ok"
    assert outcome(data, DecodePolicy(max_pixels=127_999))[0] == "too_many_pixels"
    assert outcome(data, DecodePolicy(max_bytes=len(data) - 1))[0] == "too_many_bytes"
    assert outcome(data, DecodePolicy(min_side=321))[0] == "too_small"
    assert outcome(data, DecodePolicy(max_aspect=1.2))[0] == "aspect_ratio"


def test_a_bad_policy_is_refused():
    for wrong in ({"max_pixels": 0}, {"salvage_truncated": 101.0}, {"background": (0, 0, 256)}, {"max_aspect": 0.5}):
        with pytest.raises(ValueError, match="expected"):
            DecodePolicy(**wrong)


def test_a_refusal_travels_between_processes(bad_inputs):
    with pytest.raises(Drop) as caught:
        decode(b"", POLICY)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, again.detail, again.outcome) == ("empty_file", "0 bytes", "failed")


def test_decoders_print_nothing(bad_inputs, capfd):
    for case in bad_inputs.cases():
        outcome(case.data)
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"


@functools.cache
def small_files():
    """One small sound file of every format and way of decoding."""
    import picture_files as files
    from PIL import Image

    base = files.portrait()[60:140, 80:160]
    kinds = {kind: files.saved(base, kind) for kind in ("PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")}
    kinds["jpeg"] = files.jpeg(base)
    kinds["progressive"] = files.jpeg(base, progressive=True, exif=files.exif(6))
    kinds["cmyk"] = files.saved(Image.fromarray(base).convert("CMYK"), "JPEG")
    kinds["profile"] = files.jpeg(base, icc_profile=files.icc_profile(files.P3_TO_XYZ, "p3"))
    kinds["deep"] = files.tiff(files.sixteen(base), photometric="rgb")
    kinds["lzw"] = files.saved(base, "TIFF", compression="tiff_lzw")
    kinds["palette"] = files.saved(Image.fromarray(base).quantize(16), "PNG", transparency=2)
    return list(kinds.values())


@settings(max_examples=300, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files_are_decoded_or_refused_but_never_raise(bad_inputs, data):
    original = data.draw(st.sampled_from(small_files()))
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.one_of(st.integers(0, min(400, len(changed) - 1)), st.integers(0, len(changed) - 1)))
        changed[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        changed = changed[: data.draw(st.integers(0, len(changed)))]
    reason, found = outcome(bytes(changed), DecodePolicy(max_pixels=4_000_000, strict=data.draw(st.booleans())))
    assert (found is not None) == (reason == "ok")


@settings(max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.sampled_from(MAGIC), rest=st.binary(max_size=400))
def test_random_bytes_never_raise(start, rest):
    reason, found = outcome(start + rest)
    assert found is None and reason != "ok"
