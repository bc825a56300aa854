"""Encoders of unusual picture files: colour profiles, YCCK, turned and 16-bit pictures, PNGs of any size.

What each must decode to is said in `bad_inputs`; pictures here are made from formulas, not by the code under test.
"""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image
from skimage import data as pictures


def portrait() -> np.ndarray:
    """The head and shoulders of skimage's astronaut (NASA, public domain), (400, 320, 3) uint8."""
    return np.ascontiguousarray(pictures.astronaut()[:400, 60:380])


def saved(array: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """Encode with Pillow."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(array: np.ndarray, quality: int = 92, **options: object) -> bytes:
    return saved(array, "JPEG", quality=quality, **options)


def with_comment(data: bytes, text: str) -> bytes:
    """Make a JPEG's bytes unique by a comment segment."""
    body = text.encode("utf-8", "surrogateescape")
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(body) + 2) + body + data[2:]


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def stored_for(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the stored picture that EXIF orientation 1 to 8 turns into `upright` (EXIF 2.32, sec. 4.6.4)."""
    height, width = upright.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    bottom, right = height - 1 - rows, width - 1 - columns
    # where in the stored picture each upright pixel lies: (row, column)
    place = {
        1: (rows, columns), 2: (rows, right), 3: (bottom, right), 4: (bottom, columns),
        5: (columns, rows), 6: (right, rows), 7: (right, bottom), 8: (columns, bottom),
    }[orientation]  # fmt: skip
    stored = np.zeros((width, height, 3) if orientation > 4 else (height, width, 3), np.uint8)
    stored[place] = upright
    return stored


def linear(value: np.ndarray) -> np.ndarray:
    """Return sRGB's and Display-P3's light of an encoded value 0 to 1 (IEC 61966-2-1)."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> np.ndarray:
    """Return the encoded value of light 0 to 1; the inverse of `linear`."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.clip(light, 0, None) ** (1 / 2.4) - 0.055)


SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
P3_TO_XYZ = np.array([[0.5151187, 0.2919778, 0.1571035], [0.2411892, 0.6922441, 0.0665668], [-0.0010505, 0.0418791, 0.7840713]])
"""Linear RGB to XYZ under D50 (IEC 61966-2-1 and DCI-P3 primaries with D65 white, Bradford-adapted)."""


def in_display_p3(srgb: np.ndarray) -> np.ndarray:
    """Return the Display-P3 numbers of the same colours."""
    light = linear(srgb / 255.0) @ (np.linalg.inv(P3_TO_XYZ) @ SRGB_TO_XYZ).T
    return np.clip(np.rint(255 * encoded(light)), 0, 255).astype(np.uint8)


def icc_profile(matrix: np.ndarray, name: str, curve: bytes = b"", more: dict[bytes, bytes] | None = None) -> bytes:
    """Write an ICC v4 matrix profile with sRGB's tone curve or another (ICC.1:2010: sections 7.2, 9.2, 10.13, 10.16)."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def text(words: str) -> bytes:
        body = words.encode("utf-16-be")
        return b"mluc" + bytes(4) + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(body), 28) + body

    curve = curve or (
        b"para"
        + bytes(4)
        + struct.pack(">HH", 3, 0)
        + b"".join(map(fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
    )
    tags = {
        b"desc": text(name),
        b"cprt": text("none"),
        b"wtpt": b"XYZ " + bytes(4) + b"".join(map(fixed, (0.9642, 1.0, 0.8249))),
    }
    for column, letter in enumerate(b"rgb"):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + b"".join(map(fixed, matrix[:, column]))
        tags[bytes([letter]) + b"TRC"] = curve
    return _icc(b"RGB ", b"XYZ ", b"mntr", {**tags, **(more or {})})


def cmyk_profile() -> bytes:
    """Write a small ICC v2 CMYK profile whose table (lut8Type, 10.9) makes paper dark: it differs from the plain formula."""
    grid = 5
    steps = np.linspace(0, 1, grid)
    c, m, y, k = np.meshgrid(steps, steps, steps, steps, indexing="ij")
    lightness = 80 * (1 - k) * (1 - (0.3 * c + 0.5 * m + 0.1 * y))
    lab = np.stack([lightness / 100 * 255, np.full_like(c, 128), np.full_like(c, 128)], -1)
    ramp = np.arange(256, dtype=np.uint8).tobytes()
    identity = b"".join(struct.pack(">i", 65536 if i % 4 == 0 else 0) for i in range(9))
    table = (
        b"mft1" + bytes(4) + bytes([4, 3, grid, 0]) + identity + ramp * 4 + np.rint(lab).astype(np.uint8).tobytes() + ramp * 3
    )
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"none\x00" + bytes(8 + 3 + 67)
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
    return _icc(
        b"CMYK", b"Lab ", b"prtr", {b"desc": text, b"cprt": b"text\x00\x00\x00\x00none\x00", b"wtpt": white, b"A2B0": table}, 2
    )


def _icc(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes], version: int = 4) -> bytes:
    offset = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    white = struct.pack(">iii", 63190, 65536, 54061)
    head = bytes(4) + struct.pack(">I", version << 24) + kind + space + connection + bytes(12) + b"acsp" + bytes(28) + white
    head = head.ljust(124, b"\x00")
    return struct.pack(">I", 128 + len(table) + len(body)) + head + table + body


def ycck(picture: np.ndarray) -> bytes:
    """Write an Adobe YCCK JPEG: Adobe inverts the inks and libjpeg does so again, so the planes show the inks themselves."""
    planes = cv2.cvtColor(255 - picture, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    ink = np.concatenate([planes, np.full((*planes.shape[:2], 1), 255, np.uint8)], -1)
    # Pillow stores 255 - value, as Adobe does, so hand it the inverse; transform 2 then says that the planes are YCCK
    plain = saved(Image.frombytes("CMYK", ink.shape[1::-1], (255 - ink).tobytes()), "JPEG", quality=95, subsampling=0)
    place = plain.index(b"Adobe") + 11
    return plain[:place] + b"\x02" + plain[place + 1 :]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def empty_png(width: int, height: int, rows: int | None = None) -> bytes:
    """Write a black 1-bit PNG of any size in a few kilobytes; `rows` fewer than `height` leave it short."""
    packer, packed = zlib.compressobj(9), b""
    row = bytes(1 + (width + 7) // 8)
    for start in range(0, height if rows is None else rows, 500):
        packed += packer.compress(row * min(500, (height if rows is None else rows) - start))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed + packer.flush()) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(array: np.ndarray, **options: object) -> bytes:
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def scrambled(data: bytes, at: float, length: int) -> bytes:
    """Overwrite part of a JPEG's scan with other bytes, none of them 0xFF."""
    start = data.rindex(b"\xff\xda") + 14
    place = start + int(at * (len(data) - start))
    noise = np.random.default_rng(5).integers(0, 255, length, dtype=np.uint8).tobytes()
    return data[:place] + noise + data[place + length :]


def sixteen(array: np.ndarray) -> np.ndarray:
    """Return 16-bit values that round to `array`: v * 257 plus up to 100 of 257."""
    noise = np.random.default_rng(6).integers(-100, 101, array.shape)
    return np.clip(array.astype(np.int64) * 257 + noise, 0, 65535).astype(np.uint16)


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255.0
    return np.floor(colours * share + 255.0 * (1 - share) + 0.5).astype(np.uint8)


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Put chunks right behind a PNG's header."""
    return png[:33] + b"".join(png_chunk(kind, body) for kind, body in chunks) + png[33:]


def chromaticities(*xy: float) -> bytes:
    """Return the body of a PNG's cHRM chunk: x, y of white, red, green and blue."""
    return struct.pack(">8I", *(round(value * 1e5) for value in xy))


def xmp(orientation: int, element: bool = False) -> bytes:
    """Return an XMP packet that says an orientation, as an attribute or an element."""
    said = f"><tiff:Orientation>{orientation}</tiff:Orientation>" if element else f' tiff:Orientation="{orientation}">'
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        f'{said}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def raw_profile(kind: str, block: bytes) -> bytes:
    """Return a PNG text as ImageMagick writes EXIF and XMP blocks: a name, a length, and hexadecimal lines of 72."""
    digits = block.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return f"\n{kind}\n{len(block):8d}\n".encode() + "\n".join(lines).encode() + b"\n"


def jpeg_with_xmp(data: bytes, packet: bytes) -> bytes:
    body = b"http://ns.adobe.com/xap/1.0/\x00" + packet
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def with_code_points(avif: bytes, primaries: int, transfer: int) -> bytes:
    """Change what an AVIF's colour boxes say: CICP code points of primaries and transfer function."""
    place, changed = avif.index(b"nclx"), bytearray(avif)
    while place >= 0:
        changed[place + 4 : place + 8] = struct.pack(">HH", primaries, transfer)
        place = avif.find(b"nclx", place + 4)
    return bytes(changed)


def bitmap(
    array: np.ndarray, kind: bytes = b"BGRs", profile: bytes = b"", ends: tuple[float, ...] = (0.0,) * 9, gamma: float = 0.0
) -> bytes:
    """Write a 32-bit bitmap with a version 4 header, version 5 where there is a profile, and a mask for its fourth byte.

    Args:
        array: (H, W, 4) uint8 RGBA.
        kind: colour space type as it stands in the file; four zero bytes for calibrated.
        profile: embedded ICC profile.
        ends: XYZ of red, green and blue.
        gamma: exponent of the curve to light.
    """
    height, width = array.shape[:2]
    size = 124 if profile else 108
    pixels = np.ascontiguousarray(array[::-1, :, [2, 1, 0, 3]]).tobytes()
    head = struct.pack("<IiiHHIIiiII", size, width, height, 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
    head += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + kind
    head += struct.pack("<9I", *(round(value * 2**30) for value in ends)) + struct.pack("<3I", *[round(gamma * 65536)] * 3)
    if profile:
        head += struct.pack("<4I", 4, size + len(pixels), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 14 + size + len(pixels) + len(profile), 0, 0, 14 + size) + head + pixels + profile


def times(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Multiply an alpha of the same depth into colours, rounded to nearest."""
    most = np.iinfo(colours.dtype).max
    return np.rint(colours.astype(np.float64) * alpha[..., None] / most).astype(colours.dtype)
