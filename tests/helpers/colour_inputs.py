"""Pictures whose colours, depths, transparency and orientation must be read right, with the outcome each must have."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from picture_files import (
    P3_TO_XYZ,
    SRGB_TO_XYZ,
    chromaticities,
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
    sixteen,
    stored_for,
    tiff,
    times,
    with_chunks,
    with_code_points,
    xmp,
    ycck,
)  # fmt: skip
from PIL import Image, features

OK = "ok"


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


def colours() -> Iterator[Case]:
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


def depths() -> Iterator[Case]:
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


def transparent() -> Iterator[Case]:
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


def turned() -> Iterator[Case]:
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


def meanings() -> Iterator[Case]:
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


def extra_channels() -> Iterator[Case]:
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
