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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from colour_inputs import OK, Case, colours, depths, extra_channels, meanings, transparent, turned
from picture_files import (
    P3_TO_XYZ,
    bitmap,
    empty_png,
    exif,
    icc_profile,
    in_display_p3,
    jpeg,
    linear,
    over_white,
    portrait,
    saved,
    scrambled,
    tiff,
    with_comment,
)  # fmt: skip
from PIL import Image, features

DUPLICATES = (("copies/first.jpg", "copies/second.jpg"),)
"""Pairs of files with the same bytes."""


@functools.cache
def cases() -> tuple[Case, ...]:
    """Make every case that is a file's content."""
    made = [
        *_damaged(),
        *_not_pictures(),
        *_containers(),
        *colours(),
        *depths(),
        *transparent(),
        *turned(),
        *meanings(),
        *extra_channels(),
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
