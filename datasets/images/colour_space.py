"""What a picture's numbers mean as colours: gamma, chromaticities and CICP code points brought to one form, an ICC profile.

Every format that has no profile but says its colours in other words - PNG, AVIF, HEIF, BMP - comes through here, so that
`colour` knows one way to sRGB. What has no agreed way, such as HDR, is refused. The profile is written here because LittleCMS
stamps its own with the time of day: the same words must give the same bytes.
"""

from __future__ import annotations

import functools
import struct

import numpy as np

from ..arrays import Array, Floats
from ..sample import Drop

SRGB_PRIMARIES = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
"""x, y of white, red, green and blue (ITU-R BT.709-6, IEC 61966-2-1)."""
_D65, _ILLUMINANT_C = (0.3127, 0.3290), (0.310, 0.316)
PRIMARIES: dict[int, tuple[float, ...]] = {
    1: SRGB_PRIMARIES,
    4: (*_ILLUMINANT_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*_ILLUMINANT_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
"""ColourPrimaries of ITU-T H.273 (table 2) -> x, y of white, red, green and blue."""
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 11, 12, 13, 14, 15), _SRGB_CURVE),
    4: (2.2,),
    5: (2.8,),
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 0.25, 0.0913),
    8: (1.0,),
}
"""TransferCharacteristics of H.273 (table 3) -> the curve to light: one exponent, or g, a, b, c, d of ICC's parametric type 3.

Numbers with a camera's curve (BT.709, BT.601, BT.2020) are shown with sRGB's, as browsers do: that curve's inverse is not what
a screen does with them."""
_WORDS = {16: "an HDR transfer function (PQ)", 18: "an HDR transfer function (HLG)", 9: "a logarithmic transfer function",
          10: "a logarithmic transfer function", 17: "a cinema projector's transfer function (SMPTE ST 428)"}  # fmt: skip
_NOT_SAID = (0, 2, 3)
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB_GAMMA = 0.45455
"""What files of sRGB numbers say of their gamma (PNG specification, third edition, 11.3.2.5)."""


def of_code_points(primaries: int, transfer: int, grey: bool = False) -> bytes | None:
    """Return the profile of CICP code points: empty for sRGB, None where neither says anything.

    Args:
        primaries: ColourPrimaries of ITU-T H.273.
        transfer: TransferCharacteristics of the same.
        grey: whether the picture has one channel.

    Raises:
        Drop: unsupported_depth for HDR and other curves without an agreed conversion to sRGB.
    """
    if transfer in _WORDS:
        raise Drop("unsupported_depth", f"{_WORDS[transfer]} has no agreed conversion to sRGB: tone-map it first")
    if primaries in _NOT_SAID and transfer in _NOT_SAID:
        return None
    colours = PRIMARIES.get(primaries, SRGB_PRIMARIES)
    if primaries == 10:
        raise Drop("unsupported_depth", "CIE XYZ as primaries (SMPTE ST 428) has no agreed conversion to sRGB")
    curve = CURVES.get(transfer, _SRGB_CURVE)
    return b"" if (colours, curve) == (SRGB_PRIMARIES, _SRGB_CURVE) else _profile(colours, curve, grey)


def of_gamma(gamma: float, chromaticities: tuple[float, ...], grey: bool = False) -> bytes:
    """Return the profile of PNG's gAMA and cHRM: empty for sRGB, and where they make no sense.

    Args:
        gamma: exponent of the encoding; 0 where it is not told, then the curve is sRGB's.
        chromaticities: x, y of white, red, green and blue; empty where they are not told.
        grey: whether the picture has one channel.
    """
    near = len(chromaticities) != 8 or np.abs(np.subtract(chromaticities, SRGB_PRIMARIES)).max() < 0.002
    colours = SRGB_PRIMARIES if near else chromaticities
    if not gamma or (near and abs(gamma - _SRGB_GAMMA) < 0.001):
        curve: tuple[float, ...] = _SRGB_CURVE
    elif not 0.1 <= gamma <= 10.0:
        return b""
    else:
        curve = (1.0 / gamma,)
    if (colours, curve) == (SRGB_PRIMARIES, _SRGB_CURVE) or _matrix(colours) is None:
        return b""
    return _profile(colours, curve, grey)


def srgb_to_linear(colour: Array) -> Floats:
    """Return linear light of sRGB values from 0 to 1 (IEC 61966-2-1)."""
    value = np.asarray(colour, dtype=np.float64)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: Array) -> Floats:
    """Return sRGB values from 0 to 1 of linear light, clipped; the inverse of `srgb_to_linear`."""
    value = np.clip(light, 0.0, 1.0)
    return np.asarray(np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1.0 / 2.4) - 0.055))


def refuse_hdr(profile: bytes) -> None:
    """Refuse an ICC profile whose numbers are HDR: a cicp tag that says so (ICC.1:2022, 9.2.17), or PNG's agreed name.

    Raises:
        Drop: unsupported_depth.
    """
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return
    (count,) = struct.unpack_from(">I", profile, 128)
    for place in range(132, min(132 + 12 * min(count, 200), len(profile) - 11), 12):
        name, offset, size = struct.unpack_from(">4sII", profile, place)
        if name == b"cicp" and size >= 12 and offset + 12 <= len(profile) and profile[offset + 9] in _WORDS:
            what = _WORDS[profile[offset + 9]]
            raise Drop("unsupported_depth", f"{what} in the profile has no agreed conversion to sRGB: tone-map it first")


def _matrix(colours: tuple[float, ...]) -> Floats | None:
    """Return the (3, 3) matrix from linear RGB to XYZ under D50; None where the chromaticities span no gamut."""
    points = np.reshape(np.asarray(colours, dtype=np.float64), (4, 2))
    if (points[:, 1] < 1e-3).any() or (points > 1.5).any():
        return None
    x, y, z = points[:, 0] / points[:, 1], np.ones(4), (1.0 - points.sum(axis=1)) / points[:, 1]
    white, primaries = np.array([x[0], y[0], z[0]]), np.stack([x[1:], y[1:], z[1:]])
    if abs(float(np.linalg.det(primaries))) < 1e-4:
        return None
    matrix = primaries * np.linalg.solve(primaries, white)
    cones, wanted = _BRADFORD @ white, _BRADFORD @ np.array(_D50)
    if (np.abs(cones) < 1e-3).any():
        return None
    adapted = np.linalg.solve(_BRADFORD, (wanted / cones)[:, None] * (_BRADFORD @ matrix))
    return adapted if np.abs(adapted).max() < 100 else None


@functools.lru_cache(maxsize=64)
def _profile(colours: tuple[float, ...], curve: tuple[float, ...], grey: bool) -> bytes:
    """Write an ICC v4 profile of a curve and, but for grey, a matrix (ICC.1:2010, sections 7.2, 9.2, 10.6, 10.16)."""
    matrix = _matrix(colours)
    assert matrix is not None
    shape = b"para" + bytes(4) + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + b"".join(map(_fixed, curve))
    tags = {b"desc": _text("made of the file's own words"), b"cprt": _text("none"), b"wtpt": _place(_D50)}
    if grey:
        tags[b"kTRC"] = shape
    else:
        for letter, column in zip((b"r", b"g", b"b"), matrix.T, strict=True):
            tags[letter + b"XYZ"], tags[letter + b"TRC"] = _place(column), shape
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    space = b"GRAY" if grey else b"RGB "
    head = bytes(4) + struct.pack(">I", 0x04200000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    head = (head + b"".join(map(_fixed, _D50))).ljust(124, b"\x00")
    return struct.pack(">I", 128 + len(table) + len(body)) + head + table + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


def _place(values: tuple[float, ...] | Floats) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _text(words: str) -> bytes:
    body = words.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(body), 28) + body
