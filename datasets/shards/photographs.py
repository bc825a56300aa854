"""Photographs with several labelled heads as members of a shard and back: what networks that find and pose heads learn from.

A sample is a whole picture, not a crop; its heads stand in the JSON member under "heads", nearest first, and their face points
in `points.npy`. Rendering such photographs is left to the pipeline, reading many of them to `streaming.photographs`.

Members: the picture; `mask.png`, how much of each pixel any person covers; `seg.png`, the class of what is seen; `who.png`,
whose it is: 0 nobody's, k that of head k - 1, 255 an occluder's; `depth.png`, 16 bits, distance along the optical axis in
thousandths of a world unit, 0 where nobody is or only soft rims are; `alphaK.png` where there are several heads: how much of a
pixel is of head K and seen.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import Array, Floats, Pixels
from ..camera import Camera
from ..canonical_face import IBUG_VERTICES
from ..depth import decode_depth, encode_depth
from .codec import IMAGE_SUFFIXES, Encoding, camera_json, decode_grey, decode_image, encode_grey, encode_image

OCCLUDER = 255
"""Value of `who.png` where something hides the people."""
OUTSIDE, HIDDEN, VISIBLE = 0, 1, 2
"""Visibility of a point: out of the picture, behind something, seen."""


@dataclass(frozen=True, eq=False)
class HeadLabel:
    """One head in a photograph."""

    person: str
    """Key of the person."""
    box: tuple[float, float, float, float]
    """x, y, width, height in pixels: the whole head with hair and hat, also what is hidden or out of the picture. What hangs
    farther than 0.45 world units from the head frame's origin is left out."""
    skull: tuple[float, float, float, float]
    """The same without hair and hat, above the jaw line, with ears."""
    camera: Camera
    """The canonical camera of the head's own crop, without turning the picture: exact direction and roll."""
    photo_camera: Camera
    """The pinhole that took the photograph, in the head's own frame: the plain pose. Intrinsics normalised by the side."""
    crop: Floats
    """(3, 3) homography from the photograph's normalised coordinates to those of the head's canonical crop."""
    points: Array
    """(478, 4) float32: MediaPipe's mesh and irises, x and y in pixels, depth in world units, and visibility."""
    inside: float
    """Share of the box that lies inside the picture."""
    seen: float
    """`inside` times the share of the head in the picture, without neck and clothes, that nothing hides."""
    hidden_by: Mapping[int, float] = field(default_factory=dict)
    """Index of another head, or -1 for occluders -> share of this head that it hides."""

    @property
    def distance(self) -> float:
        """World units from the camera to the head frame's origin."""
        return self.photo_camera.radius

    @property
    def rotation(self) -> Floats:
        """(3, 3) from the head frame to the photograph's camera axes (x right, y down, z forward)."""
        return self.photo_camera.world2cam

    @property
    def landmarks(self) -> Array:
        """(68, 4) float32: the iBUG landmarks among the points."""
        return self.points[list(IBUG_VERTICES)]

    def crop_camera(self) -> Camera:
        """Return the pinhole that took the picture that `crop` cuts: as `camera`, from the true distance and as much longer."""
        scale = self.distance / self.camera.radius
        cam2world, intrinsics = self.camera.cam2world.copy(), self.camera.intrinsics.copy()
        cam2world[:3, 3] *= scale
        intrinsics[[0, 1], [0, 1]] *= scale
        return Camera(cam2world, intrinsics)

    def to_plain(self) -> dict[str, Any]:
        """Return all but the points as plain data."""
        return {
            "person": self.person, "box": _rounded(self.box, 3), "skull": _rounded(self.skull, 3),
            "camera": json.loads(camera_json(self.camera)),
            "photo_camera": [float(value) for matrix in (self.photo_camera.cam2world, self.photo_camera.intrinsics)
                             for value in matrix.ravel()],
            "crop": [float(value) for value in self.crop.ravel()],
            "inside": round(self.inside, 4), "seen": round(self.seen, 4),
            "hidden_by": {str(index): round(share, 4) for index, share in sorted(self.hidden_by.items())},
        }  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], points: Array) -> HeadLabel:
        """Read what `to_plain` returned, with the head's points.

        Raises:
            KeyError: a field is missing.
            ValueError: a field is not what it should be.
        """
        flat = np.array(plain["photo_camera"], dtype=np.float64)
        return cls(
            str(plain["person"]), _four(plain["box"]), _four(plain["skull"]), Camera.from_label(plain["camera"]),
            Camera.from_label(flat), np.array(plain["crop"], dtype=np.float64).reshape(3, 3), points, float(plain["inside"]),
            float(plain["seen"]), {int(index): float(share) for index, share in plain["hidden_by"].items()},
        )  # fmt: skip


def _rounded(values: tuple[float, ...], digits: int) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in values]


def _four(values: Any) -> tuple[float, float, float, float]:
    x, y, width, height = (float(value) for value in values)
    return x, y, width, height


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture with all its labels."""

    image: Pixels
    """(S, S, 3) uint8 sRGB."""
    mask: Pixels
    """(S, S) uint8 cover of all people."""
    parsing: Pixels
    """(S, S) uint8 class map."""
    who: Pixels
    """(S, S) uint8: 0 nobody, k head k - 1, `OCCLUDER`."""
    depth: Array
    """(S, S) float32 world units along the optical axis; infinity where nobody is. In steps of a thousandth once read back."""
    alphas: tuple[Pixels, ...]
    """(S, S) uint8 for each head: how much of a pixel is of it and seen."""
    heads: tuple[HeadLabel, ...]
    """Nearest first."""
    id: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    """The JSON member."""


def photograph_members(photo: Photograph, picture: bytes | None = None, lossless: bool = False) -> dict[str, bytes]:
    """Encode a photograph's members, all but the JSON, whose "heads" are `[head.to_plain() for head in photo.heads]`.

    Args:
        photo: what to encode.
        picture: the picture as the JPEG that it is already; encoded anew where None.
        lossless: encode the picture as PNG.
    """
    suffix: Any = "png" if lossless else "jpg"
    stacked = np.stack([head.points for head in photo.heads]) if photo.heads else np.zeros((0, 478, 4))
    points = io.BytesIO()
    np.save(points, stacked.astype("<f4"), allow_pickle=False)
    members = {
        suffix: picture if picture is not None else encode_image(photo.image, Encoding(suffix)),
        "mask.png": encode_grey(photo.mask), "seg.png": encode_grey(photo.parsing), "who.png": encode_grey(photo.who),
        "depth.png": encode_depth(photo.depth), "points.npy": points.getvalue(),
    }  # fmt: skip
    if len(photo.heads) > 1:
        members |= {f"alpha{index}.png": encode_grey(alpha) for index, alpha in enumerate(photo.alphas)}
    return members


def decode_photograph(key: str, members: Mapping[str, bytes]) -> Photograph:
    """Decode a sample that `photograph_members` made.

    Raises:
        ValueError: a member is missing or does not decode; the message names key and member.
    """
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if suffix in members), "jpg")
    name = suffix
    try:
        image = decode_image(members[suffix])
        greys = {}
        for name in ("mask.png", "seg.png", "who.png"):
            greys[name] = decode_grey(members[name])
        name = "depth.png"
        depth = decode_depth(members[name])
        depth = np.where(depth > 0, depth, np.float32(np.inf)).astype(np.float32)
        name = "points.npy"
        points = np.load(io.BytesIO(members[name]), allow_pickle=False)
        name = "json"
        record = json.loads(members[name])
        heads = tuple(HeadLabel.from_plain(*pair) for pair in zip(record["heads"], points, strict=True))
        alphas: tuple[Pixels, ...] = (greys["mask.png"],)
        if len(heads) != 1:
            name = "alpha0.png"
            alphas = tuple(decode_grey(members[f"alpha{index}.png"]) for index in range(len(heads)))
    except (KeyError, ValueError) as error:
        raise ValueError(f"sample {key}, member {name}: expected a photograph with heads, got {error!r}") from error
    return Photograph(image, greys["mask.png"], greys["seg.png"], greys["who.png"], depth, alphas, heads, key, record)
