"""Every bad or odd input file a builder must survive, made on the spot with the outcome each must have.

`cases` makes the files' bytes with the picture they must decode to; `write_bad_inputs` puts them into a folder together with
names, links and special files that only a file system can have.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from picture_files import (
    P3_TO_XYZ,
    SRGB_TO_XYZ,
    bitmap,
    chromaticities,
    empty_png,
    exif,
    icc_profile,
    in_display_p3,
    jpeg,
    jpeg_with_xmp,
    linear,
    over_white,
    portrait,
    raw_profile,
    saved,
    scrambled,
    sixteen,
    stored_for,
    tiff,
    times,
    with_chunks,
    with_code_points,
    with_comment,
    xmp,
    ycck,
)  # fmt: skip
from PIL import Image, features

OK = "ok"
DUPLICATES = (("copies/first.jpg", "copies/second.jpg"),)
"""Pairs of files with the same bytes."""


@dataclass(frozen=True, eq=False)
class Case:
    """One file."""

    name: str
    data: bytes
    expected: str = OK
    """Reason code, or "ok"."""
    truth: np.ndarray | None = None
    """(H, W, 3) uint8: what it must decode to."""
    tolerance: float = 0.0
    """Allowed 99th percentile of the absolute difference in levels; 0 asks for equality."""
    flags: tuple[str, ...] = ()
    """Flags that must be among its remarks."""


@functools.cache
def cases() -> tuple[Case, ...]:
    """Make every case that is a file's content."""
    made = [
        *_damaged(),
        *_not_pictures(),
        *_containers(),
        *_colours(),
        *_depths(),
        *_transparent(),
        *_turned(),
        *_meanings(),
        *_extra_channels(),
        *_bitmaps(),
        *_frames(),
        *_sizes(),
    ]
    assert len({case.name for case in made}) == len(made)
    return tuple(made)


def _damaged() -> Iterator[Case]:
    base, plain = portrait(), jpeg(portrait())
    png = saved(base, "PNG")
    slow = jpeg(base, progressive=True)
    yield Case("damaged/half.jpg", plain[: len(plain) // 2], "truncated")
    yield Case("damaged/header_only.jpg", plain[:200], "truncated")
    yield Case("damaged/magic_only.jpg", plain[:3], "truncated")
    yield Case("damaged/no_end_marker.jpg", plain[:-2], "truncated")
    yield Case("damaged/half_progressive.jpg", slow[: len(slow) // 2], "truncated")
    yield Case("damaged/zero_filled_end.jpg", plain[: len(plain) // 2] + bytes(len(plain) // 2), "truncated")
    yield Case("damaged/half_with_end_marker.jpg", plain[: len(plain) // 2] + b"\xff\xd9", "corrupt_stream")
    yield Case("damaged/flipped.jpg", scrambled(plain, 0.4, 600), "corrupt_stream")
    yield Case("damaged/flipped_progressive.jpg", scrambled(slow, 0.1, 64), "corrupt_stream")
    yield Case("damaged/shifted.jpg", scrambled(plain, 0.4, 64), "corrupt_stream")
    yield Case("damaged/zeroed_block.jpg", _zeroed(plain, 2048), "corrupt_stream")
    grey = base.copy()
    grey[240:] = 128
    yield Case("damaged/loss_saved_again.jpg", jpeg(grey), "corrupt_stream")
    yield Case("damaged/half.png", png[: len(png) // 2], "truncated")
    yield Case("damaged/fewer_rows_than_announced.png", empty_png(400, 400, rows=300), "corrupt_stream")
    yield Case("damaged/no_end_chunk.png", png[:-12], "truncated")
    yield Case(
        "damaged/flipped.png",
        png[: len(png) // 2] + bytes([png[len(png) // 2] ^ 64]) + png[len(png) // 2 + 1 :],
        "corrupt_stream",
    )
    for kind, name in (("GIF", "gif"), ("WEBP", "webp"), ("BMP", "bmp"), ("TIFF", "tif"), ("PPM", "ppm")):
        data = saved(base, kind)
        yield Case(f"damaged/half.{name}", data[: len(data) // 2], "truncated")
    yield Case("damaged/empty.jpg", b"", "empty_file")


def _zeroed(data: bytes, length: int) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes(length) + data[place + length :]


def _not_pictures() -> Iterator[Case]:
    box = struct.pack(">I", 24)
    heif = "corrupt_stream" if importlib.util.find_spec("pillow_heif") else "unsupported_format"
    yield Case("not/page.jpg", b"<!DOCTYPE html><html><body>404 not found</body></html>" * 20, "not_an_image")
    yield Case("not/answer.png", b'{"error": "rate limited"}' * 20, "not_an_image")
    yield Case("not/notes.txt", b"Pictures of the trip.\n" * 20, "not_an_image")
    yield Case("not/drawing.svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "not_an_image")
    yield Case("not/paper.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 4, "not_an_image")
    yield Case("not/zeros.jpg", bytes(4096), "not_an_image")
    yield Case("not/noise.jpg", np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8).tobytes(), "not_an_image")
    yield Case("not/archive.zip", b"PK\x03\x04" + bytes(200), "not_an_image")
    yield Case("not/letter_that_begins_BM.txt", b"BMW owners' club: minutes of the meeting. " * 9, "not_an_image")
    yield Case("not/letter_that_begins_P5.txt", b"P5 12 of the players were late. " * 9, "not_an_image")
    yield Case("not/film.mp4", box + b"ftypisom" + bytes(4) + b"isomavc1" + bytes(500), "not_an_image")
    yield Case("formats/photo.heic", box + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(500), heif)
    yield Case("formats/raw.cr2", b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(500), "unsupported_format")
    yield Case("formats/raw.cr3", box + b"ftypcrx " + bytes(4) + b"crx isom" + bytes(500), "unsupported_format")
    yield Case("formats/raw.raf", b"FUJIFILMCCD-RAW 0201" + bytes(500), "unsupported_format")
    dng = tiff(portrait()[::8, ::8], photometric="rgb", subfiletype=1, extratags=[(50706, 1, 4, (1, 4, 0, 0), True)])
    yield Case("formats/raw.dng", dng, "unsupported_format")
    yield Case("formats/layers.psd", b"8BPS\x00\x01" + bytes(500), "unsupported_format")
    yield Case("formats/photo.jxl", b"\xff\x0a" + bytes(500), "unsupported_format")
    yield Case("formats/light.exr", b"v/1\x01\x02\x00\x00\x00" + bytes(500), "unsupported_depth")
    yield Case("formats/light.hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9 +X 9\n" + bytes(500), "unsupported_depth")


def _containers() -> Iterator[Case]:
    base = portrait()
    plain = jpeg(base)
    yield Case("formats/plain.jpg", plain, truth=base, tolerance=16)
    yield Case("formats/progressive.jpg", jpeg(base, progressive=True), truth=base, tolerance=16)
    yield Case("formats/really_png.jpg", saved(base, "PNG"), truth=base)
    yield Case("formats/really_webp.png", saved(base, "WEBP", lossless=True), truth=base)
    yield Case("formats/picture.bmp", saved(base, "BMP"), truth=base)
    yield Case("formats/picture.ppm", saved(base, "PPM"), truth=base)
    yield Case("formats/picture.tif", saved(base, "TIFF", compression="tiff_lzw"), truth=base)
    if features.check("jpg_2000"):
        yield Case("formats/picture.jp2", saved(base, "JPEG2000"), truth=base)
    if features.check("avif"):
        yield Case("formats/picture.avif", saved(base, "AVIF", quality=95), truth=base, tolerance=16)
    yield Case(
        "formats/garbage_after.jpg", plain + b"some phone's own data" * 50, truth=base, tolerance=16, flags=("trailing_bytes",)
    )
    yield Case("formats/garbage_after.png", saved(base, "PNG") + b"more" * 50, truth=base, flags=("trailing_bytes",))
    small = jpeg(base[::4, ::4])
    film = plain + struct.pack(">I", 24) + b"ftypmp42" + bytes(2000) + small
    yield Case("formats/live_photo.jpg", film, truth=base, tolerance=16, flags=("trailing_bytes",))
    second = saved(base, "MPO", quality=92, save_all=True, append_images=[Image.fromarray(255 - base)])
    yield Case("formats/stereo.mpo", second, truth=base, tolerance=16, flags=("mpo",))
    # a thumbnail in the EXIF block, which must never be taken for the picture
    block = exif(1).tobytes() + small
    yield Case("formats/thumbnail.jpg", jpeg(base, exif=block), truth=base, tolerance=16)


def _colours() -> Iterator[Case]:
    base = portrait()
    inks = Image.fromarray(base).convert("CMYK")
    yield Case("colours/cmyk.jpg", saved(inks, "JPEG", quality=95, subsampling=0), truth=base, tolerance=16, flags=("cmyk",))
    yield Case("colours/ycck.jpg", ycck(base), truth=base, tolerance=16, flags=("cmyk", "ycck"))
    yield Case("colours/cmyk.tif", saved(inks, "TIFF"), truth=base, tolerance=1.5, flags=("cmyk",))
    p3, srgb = icc_profile(P3_TO_XYZ, "Display P3"), icc_profile(SRGB_TO_XYZ, "sRGB")
    wide = in_display_p3(base)
    yield Case("colours/display_p3.png", saved(wide, "PNG", icc_profile=p3), truth=base, tolerance=3, flags=("icc_converted",))
    yield Case(
        "colours/display_p3.webp",
        saved(wide, "WEBP", lossless=True, icc_profile=p3),
        truth=base,
        tolerance=3,
        flags=("icc_converted",),
    )
    yield Case(
        "colours/display_p3.jpg",
        jpeg(wide, 98, subsampling=0, icc_profile=p3),
        truth=base,
        tolerance=8,
        flags=("icc_converted",),
    )
    yield Case("colours/srgb_profile.png", saved(base, "PNG", icc_profile=srgb), truth=base)
    yield Case(
        "colours/broken_profile.png", saved(base, "PNG", icc_profile=b"nonsense" * 30), truth=base, flags=("icc_ignored",)
    )
    grey = cv2.cvtColor(base, cv2.COLOR_RGB2GRAY)
    three = np.repeat(grey[..., None], 3, 2)
    yield Case("colours/grey.jpg", jpeg(grey), truth=three, tolerance=12, flags=("grey",))
    yield Case("colours/grey_in_colour.jpg", jpeg(three), truth=three, tolerance=12, flags=("grey",))
    yield Case("colours/grey.png", saved(grey, "PNG"), truth=three, flags=("grey",))
    indexed = Image.fromarray(base).quantize(64)
    yield Case("colours/palette.png", saved(indexed, "PNG"), truth=np.asarray(indexed.convert("RGB")), flags=("palette",))


def _depths() -> Iterator[Case]:
    base = portrait()
    grey = cv2.cvtColor(base, cv2.COLOR_RGB2GRAY)
    three = np.repeat(grey[..., None], 3, 2)
    deep, flags = sixteen(base), ("sixteen_bit",)
    yield Case("depths/sixteen.png", cv2.imencode(".png", deep[..., ::-1])[1].tobytes(), truth=base, flags=flags)
    yield Case("depths/sixteen_grey.png", cv2.imencode(".png", sixteen(grey))[1].tobytes(), truth=three, flags=flags)
    yield Case("depths/sixteen.tif", tiff(deep, photometric="rgb"), truth=base, flags=flags)
    packed = tiff(deep, photometric="rgb", byteorder=">", compression="zlib", predictor=True)
    yield Case("depths/sixteen_big_endian.tif", packed, truth=base, flags=flags)
    yield Case("depths/sixteen_grey.tif", tiff(sixteen(grey), photometric="minisblack"), truth=three, flags=flags)
    yield Case(
        "depths/sixteen_white_is_zero.tif", tiff(65535 - sixteen(grey), photometric="miniswhite"), truth=three, flags=flags
    )
    planes = tiff(np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate")
    yield Case("depths/sixteen_planes.tif", planes, truth=base, flags=flags)
    for kind in (np.float32, np.int16, np.uint32):
        yield Case(f"depths/{kind.__name__}.tif", tiff(base.astype(kind), photometric="rgb"), "unsupported_depth")
    bits = grey > 128
    yield Case(
        "depths/one_bit.png", saved(Image.fromarray(bits), "PNG"), truth=np.repeat(bits[..., None] * np.uint8(255), 3, 2)
    )


def _transparent() -> Iterator[Case]:
    base = portrait()
    rows, columns = np.mgrid[:400, :320]
    alpha = np.clip(255 * 1.4 - np.hypot(rows - 170, columns - 160), 0, 255).astype(np.uint8)
    hidden = base.copy()
    hidden[alpha == 0] = (255, 0, 255)
    full = np.dstack([hidden, alpha])
    truth = over_white(base, alpha)
    yield Case("alpha/hidden_colours.png", saved(full, "PNG"), truth=truth, flags=("alpha",))
    yield Case("alpha/lossless.webp", saved(full, "WEBP", lossless=True, exact=True), truth=truth, flags=("alpha",))
    yield Case("alpha/opaque.png", saved(np.dstack([base, np.full_like(alpha, 255)]), "PNG"), truth=base)
    grey = cv2.cvtColor(base, cv2.COLOR_RGB2GRAY)
    light = over_white(np.repeat(grey[..., None], 3, 2), alpha)
    yield Case("alpha/grey.png", saved(np.dstack([grey, alpha]), "PNG"), truth=light, flags=("alpha", "grey"))
    deep = np.dstack([sixteen(base), alpha.astype(np.uint16) * 257])
    yield Case("alpha/sixteen.png", cv2.imencode(".png", deep[..., [2, 1, 0, 3]])[1].tobytes(), truth=truth, flags=("alpha",))
    indexed = Image.fromarray(base).quantize(32)
    clear = np.asarray(indexed) == 3
    shown = np.where(clear[..., None], np.uint8(255), np.asarray(indexed.convert("RGB")))
    yield Case("alpha/palette.png", saved(indexed, "PNG", transparency=3), truth=shown, flags=("alpha", "palette"))
    yield Case("alpha/nothing.png", saved(np.dstack([base, np.zeros_like(alpha)]), "PNG"), "fully_transparent")


def _turned() -> Iterator[Case]:
    base = portrait()
    for orientation in range(1, 9):
        stored = stored_for(base, orientation)
        yield Case(f"turned/{orientation}.jpg", jpeg(stored, exif=exif(orientation)), truth=base, tolerance=16)
    stored = stored_for(base, 6)
    yield Case("turned/6.png", saved(stored, "PNG", exif=exif(6)), truth=base)
    yield Case("turned/6.webp", saved(stored, "WEBP", lossless=True, exif=exif(6)), truth=base)
    tag = [(274, 3, 1, 6, True)]
    yield Case("turned/6.tif", tiff(stored, photometric="rgb", extratags=tag), truth=base)
    yield Case("turned/6_sixteen.tif", tiff(sixteen(stored), photometric="rgb", extratags=tag), truth=base)

    packet, tall = xmp(6), saved(stored, "PNG")
    block = exif(6).tobytes()
    yield Case("turned/xmp.jpg", jpeg_with_xmp(jpeg(stored), packet), truth=base, tolerance=16)
    yield Case("turned/xmp_element.jpg", jpeg_with_xmp(jpeg(stored), xmp(6, element=True)), truth=base, tolerance=16)
    both = jpeg_with_xmp(jpeg(stored, exif=exif(6)), xmp(3))
    yield Case("turned/exif_before_xmp.jpg", both, truth=base, tolerance=16)
    words = b"XML:com.adobe.xmp" + bytes(5)
    yield Case("turned/xmp.png", with_chunks(tall, (b"iTXt", words + packet)), truth=base)
    packed = b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + zlib.compress(packet)
    yield Case("turned/xmp_packed.png", with_chunks(tall, (b"iTXt", packed)), truth=base)
    yield Case("turned/xmp.webp", saved(stored, "WEBP", lossless=True, xmp=packet), truth=base)
    yield Case("turned/xmp.tif", tiff(stored, photometric="rgb", extratags=[(700, 1, len(packet), packet, True)]), truth=base)
    for kind, body in (("exif", block), ("APP1", block), ("xmp", packet), ("APP1", xmp(6, element=True))):
        text = b"Raw profile type " + kind.encode() + b"\x00\x00" + zlib.compress(raw_profile(kind, body))
        yield Case(f"turned/raw_{kind}_{len(body)}.png", with_chunks(tall, (b"zTXt", text)), truth=base)
    plain = b"Raw profile type exif\x00" + raw_profile("exif", block)
    yield Case("turned/raw_plain.png", with_chunks(tall, (b"tEXt", plain)), truth=base)


def _meanings() -> Iterator[Case]:
    """Colours that other words than a profile tell."""
    base = portrait()
    light = linear(base / 255.0)
    done, p3 = ("icc_converted",), in_display_p3(base)

    def gamma(value: float) -> tuple[bytes, bytes]:
        return b"gAMA", struct.pack(">I", round(value * 1e5))

    deep = cv2.imencode(".png", np.rint(65535 * light).astype(np.uint16)[..., ::-1])[1].tobytes()
    yield Case("meaning/linear_sixteen.png", with_chunks(deep, gamma(1.0)), truth=base, tolerance=1, flags=done)
    power = saved(np.rint(255 * light ** (1 / 1.8)).astype(np.uint8), "PNG")
    yield Case("meaning/gamma_1.8.png", with_chunks(power, gamma(1 / 1.8)), truth=base, tolerance=2, flags=done)
    grey = cv2.cvtColor(base, cv2.COLOR_RGB2GRAY)
    three = np.repeat(grey[..., None], 3, 2)
    lone = saved(np.rint(255 * linear(grey / 255.0) ** (1 / 1.8)).astype(np.uint8), "PNG")
    yield Case("meaning/gamma_grey.png", with_chunks(lone, gamma(1 / 1.8)), truth=three, tolerance=2, flags=("grey",))
    deep_grey = cv2.imencode(".png", np.rint(65535 * linear(grey / 255.0)).astype(np.uint16))[1].tobytes()
    yield Case("meaning/linear_grey_sixteen.png", with_chunks(deep_grey, gamma(1.0)), truth=three, tolerance=1, flags=done)
    plain, corners = saved(base, "PNG"), (b"cHRM", chromaticities(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06))
    yield Case("meaning/gamma_of_srgb.png", with_chunks(plain, gamma(0.45455)), truth=base)
    yield Case("meaning/srgb_before_gamma.png", with_chunks(plain, (b"sRGB", b"\x00"), gamma(1.0), corners), truth=base)
    profile = (b"iCCP", b"x\x00\x00" + zlib.compress(icc_profile(P3_TO_XYZ, "P3")))
    wide = saved(p3, "PNG")
    yield Case("meaning/profile_before_gamma.png", with_chunks(wide, profile, gamma(1.0)), truth=base, tolerance=3, flags=done)
    yield Case("meaning/corners.png", with_chunks(wide, corners), truth=base, tolerance=3, flags=done)
    yield Case("meaning/cicp_p3.png", with_chunks(wide, (b"cICP", b"\x0c\x0d\x00\x01"), profile), truth=base, tolerance=3)
    yield Case("meaning/cicp_srgb.png", with_chunks(plain, (b"cICP", b"\x01\x0d\x00\x01"), profile), truth=base)
    for transfer in (16, 18):
        body = bytes([9, transfer, 0, 1])
        yield Case(f"meaning/hdr_{transfer}.png", with_chunks(plain, (b"cICP", body)), "unsupported_depth")
    yield Case("meaning/video_range.png", with_chunks(plain, (b"cICP", b"\x01\x0d\x00\x00")), "unsupported_depth")
    deep_p3 = np.rint(65535 * light @ (np.linalg.inv(P3_TO_XYZ) @ SRGB_TO_XYZ).T).clip(0, 65535).astype(np.uint16)
    straight = icc_profile(P3_TO_XYZ, "linear", curve=b"curv" + bytes(8))
    yield Case(
        "meaning/linear_p3.tif", tiff(deep_p3, photometric="rgb", iccprofile=straight), truth=base, tolerance=1, flags=done
    )
    hdr = icc_profile(P3_TO_XYZ, "pq", more={b"cicp": b"cicp" + bytes(4) + bytes([9, 16, 0, 1])})
    yield Case("meaning/hdr_profile.png", saved(base, "PNG", icc_profile=hdr), "unsupported_depth")
    yield Case("meaning/hdr_profile.jpg", jpeg(base, icc_profile=hdr), "unsupported_depth")
    if features.check("avif"):
        flat = saved(p3, "AVIF", quality=100, subsampling="4:4:4")
        yield Case("meaning/p3.avif", with_code_points(flat, 12, 13), truth=base, tolerance=5, flags=done)
        yield Case("meaning/not_said.avif", with_code_points(saved(base, "AVIF", quality=100), 2, 2), truth=base, tolerance=12)
        yield Case("meaning/pq.avif", with_code_points(flat, 9, 16), "unsupported_depth")
        yield Case("meaning/hlg.avif", with_code_points(flat, 9, 18), "unsupported_depth")


def _extra_channels() -> Iterator[Case]:
    """TIFFs whose alpha is multiplied in, or with channels beside their colours."""
    base, flags = portrait(), ("sixteen_bit",)
    rows, columns = np.mgrid[:400, :320]
    alpha = np.clip(400 - np.hypot(rows - 170, columns - 160), 0, 255).astype(np.uint8)
    truth, deep, deep_alpha = over_white(base, alpha), sixteen(base), alpha.astype(np.uint16) * 257
    both = np.dstack([times(deep, deep_alpha), deep_alpha])
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    yield Case("channels/associated_16.tif", tiff(both, **options), truth=truth, tolerance=1, flags=("alpha", *flags))
    packed = tiff(both, compression="lzw", predictor=True, rowsperstrip=7, byteorder=">", **options)
    yield Case("channels/associated_16_lzw.tif", packed, truth=truth, tolerance=1, flags=("alpha", *flags))
    tiled = tiff(both, compression="zlib", tile=(64, 48), **options)
    yield Case("channels/associated_16_tiles.tif", tiled, truth=truth, tolerance=1, flags=("alpha", *flags))
    shallow = tiff(np.dstack([times(base, alpha), alpha]), **options)
    yield Case("channels/associated_8.tif", shallow, truth=truth, tolerance=2, flags=("alpha",))
    apart = tiff(np.dstack([deep, deep_alpha]), photometric="rgb", extrasamples=["unassalpha"])
    yield Case("channels/unassociated_16.tif", apart, truth=truth, tolerance=1, flags=("alpha", *flags))
    other = np.random.default_rng(1).integers(0, 65535, (400, 320), dtype=np.uint16)
    one = tiff(np.dstack([deep, other]), photometric="rgb", extrasamples=["unspecified"])
    yield Case("channels/selection_16.tif", one, truth=base, flags=flags)
    two = tiff(np.dstack([deep, other, deep_alpha]), photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    yield Case("channels/selection_and_alpha_16.tif", two, truth=truth, tolerance=1, flags=("alpha", *flags))
    many = np.dstack([base, *[(other >> 8).astype(np.uint8)] * 5])
    eight = tiff(many, photometric="rgb", extrasamples=["unspecified"] * 5)
    yield Case("channels/eight_channels.tif", eight, truth=base)
    planes = tiff(np.moveaxis(both, 2, 0), planarconfig="separate", **options)
    yield Case("channels/associated_16_planes.tif", planes, truth=truth, tolerance=1, flags=flags)
    grey = cv2.cvtColor(deep, cv2.COLOR_RGB2GRAY)
    lone = tiff(np.dstack([times(grey[..., None], deep_alpha)[..., 0], deep_alpha]), photometric="minisblack",
                extrasamples=["assocalpha"])  # fmt: skip
    over = over_white(np.repeat(((grey.astype(int) + 128) // 257).astype(np.uint8)[..., None], 3, 2), alpha)
    yield Case("channels/associated_grey_16.tif", lone, truth=over, tolerance=1, flags=("alpha", "grey"))
    inks = np.asarray(Image.fromarray(base).convert("CMYK")).astype(np.uint16) * 257
    yield Case("channels/cmyk_16.tif", tiff(inks, photometric="separated"), truth=base, tolerance=1.5, flags=("cmyk",))
    short = bytearray(tiff(deep, photometric="rgb", compression="zlib", rowsperstrip=50))
    place = len(short) // 2
    short[place : place + 40] = bytes(40)
    yield Case("channels/damaged_16.tif", bytes(short), "corrupt_stream")


def _bitmaps() -> Iterator[Case]:
    base = portrait()
    empty = np.dstack([base, np.zeros((400, 320), np.uint8)])
    yield Case("bitmaps/alpha_left_empty.bmp", bitmap(empty), truth=base)
    alpha = np.tile(np.linspace(0, 255, 320).astype(np.uint8), (400, 1))
    yield Case("bitmaps/alpha.bmp", bitmap(np.dstack([base, alpha])), truth=over_white(base, alpha), flags=("alpha",))
    wide = np.dstack([in_display_p3(base), np.full((400, 320), 255, np.uint8)])
    profile = icc_profile(P3_TO_XYZ, "P3")
    found = bitmap(wide, b"DEBM", profile)
    yield Case("bitmaps/profile.bmp", found, truth=base, tolerance=3, flags=("icc_converted",))
    ends = tuple(float(value) for value in P3_TO_XYZ.T.reshape(-1))
    power = np.rint(255 * linear(wide[..., :3] / 255.0) ** (1 / 1.8)).astype(np.uint8)
    calibrated = bitmap(np.dstack([power, wide[..., 3]]), bytes(4), ends=tuple(max(0.0, end) for end in ends), gamma=1.8)
    yield Case("bitmaps/calibrated.bmp", calibrated, truth=base, tolerance=4, flags=("icc_converted",))
    yield Case("bitmaps/calibrated_with_nothing.bmp", bitmap(np.dstack([base, wide[..., 3]]), bytes(4)), truth=base)


def _frames() -> Iterator[Case]:
    base = portrait()
    more = {"save_all": True, "append_images": [Image.fromarray(255 - base)], "duration": 50}
    indexed = Image.fromarray(base).quantize(128)
    other = {"save_all": True, "append_images": [Image.fromarray(255 - base).quantize(128)], "duration": 50}
    yield Case("frames/animated.gif", saved(indexed, "GIF", **other), truth=np.asarray(indexed.convert("RGB")), tolerance=1)
    yield Case("frames/animated.webp", saved(base, "WEBP", lossless=True, **more), truth=base)
    yield Case("frames/animated.png", saved(base, "PNG", **more), truth=base)
    yield Case("frames/pages.tif", saved(base, "TIFF", save_all=True, append_images=[Image.fromarray(255 - base)]), truth=base)


def _sizes() -> Iterator[Case]:
    base = portrait()
    yield Case("sizes/bomb_20000.png", empty_png(20000, 20000), "too_many_pixels")
    yield Case("sizes/claims_100_megapixels.png", empty_png(10000, 10000, rows=3), "corrupt_stream")
    huge = bytearray(jpeg(base))
    place = huge.index(b"\xff\xc0") + 5
    huge[place : place + 4] = struct.pack(">HH", 60000, 60000)
    yield Case("sizes/claims_3600_megapixels.jpg", bytes(huge), "too_many_pixels")
    yield Case("sizes/strip.png", saved(np.tile(base[:100], (1, 5, 1)), "PNG"), "aspect_ratio")
    yield Case("sizes/one_pixel.png", saved(base[:1, :1], "PNG"), "too_small")
    yield Case("sizes/one_pixel.jpg", jpeg(base[:1, :1]), "too_small")
    yield Case("sizes/no_pixels.png", empty_png(0, 0), "corrupt_stream")


def write_bad_inputs(folder: Path) -> dict[str, str]:
    """Write every case into `folder` (made if absent).

    Returns:
        Path within the folder, undecodable bytes surrogate-escaped -> the reason it must be refused with, or "ok". A folder
        that is not entered ends in a slash.
    """
    expected: dict[str, str] = {}
    root = os.fsencode(folder)
    for case in cases():
        _put(root, case.name.encode(), case.data)
        expected[case.name] = case.expected
    for name, data in _names():
        _put(root, name, data)
        expected[os.fsdecode(name)] = OK
    for name in (".hidden.jpg", "._AppleDouble.jpg", "Thumbs.db", "odd/.DS_Store"):
        _put(root, name.encode(), b"\x00\x05\x16\x07" + bytes(100))
        expected[name] = "hidden_file"
    _put(root, b"__MACOSX/._portrait.jpg", bytes(100))
    expected["__MACOSX/"] = "hidden_file"
    return {**expected, **_special(folder)}


def _put(root: bytes, name: bytes, data: bytes) -> None:
    path = Path(os.fsdecode(root + b"/" + name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _names() -> Iterator[tuple[bytes, bytes]]:
    """Sound pictures with names that trip shells, encodings and shard writers; every one has other pixels."""
    names = (
        "names/Zoë – 头像 🙂.jpg".encode(), b"names/with space.jpg", b"names/it's \"quoted\" $HOME `id`;&.jpg",
        b"names/-rf.jpg", b"names/new\nline.jpg", b"names/not-utf8-\xff\xfe.jpg", b"names/dots.in.name.v2.jpg",
        b"names/UPPER.JPG", b"names/no_suffix", b"names/" + b"n" * 251 + b".jpg", b"names/trailing dot.",
        b"names/back\\slash.jpg", b"names/%41 100%.jpg", b"same/a/portrait.jpg", b"same/b/portrait.jpg",
        b"deep" + b"/d" * 40 + b"/portrait.jpg",
    )  # fmt: skip
    base = portrait()
    for index, name in enumerate(names):
        yield name, jpeg(base[index:])
    yield b"copies/first.jpg", with_comment(jpeg(base), "twice")
    yield b"copies/second.jpg", with_comment(jpeg(base), "twice")


def _special(folder: Path) -> dict[str, str]:
    """Make links, pipes and a file without permission."""
    odd = folder / "odd"
    odd.mkdir(exist_ok=True)
    (odd / "loop").symlink_to(".")
    (odd / "broken.jpg").symlink_to("nowhere.jpg")
    (odd / "outside").symlink_to("../..")
    (odd / "inside.jpg").symlink_to("../copies/first.jpg")
    os.mkfifo(odd / "pipe.jpg")
    os.mknod(odd / "socket.jpg", stat.S_IFSOCK | 0o600)
    made = dict.fromkeys(("loop", "broken.jpg", "outside", "inside.jpg", "pipe.jpg", "socket.jpg"), "special_file")
    if os.geteuid() != 0:  # root reads everything
        (odd / "locked.jpg").write_bytes(jpeg(portrait()))
        (odd / "locked.jpg").chmod(0)
        made["locked.jpg"] = "io_error"
    return {f"odd/{name}": reason for name, reason in made.items()}
