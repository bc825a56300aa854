"""Views that networks are trained on, read from shards: any finished data set, or unlit views with normals and points.

Everything stays encoded in memory and is decoded where it is drawn. What is made of a view is left to `augmentation`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....datasets.camera import Camera
from ....datasets.shards.codec import BEARD, IMAGE_SUFFIXES, decode_grey, decode_image
from ....datasets.shards.tar import iterate
from ....manifests.config import ConfigError


@dataclass(frozen=True, eq=False)
class View:
    """One picture with its truth."""

    image: Pixels
    """(S, S, 3) sRGB: lit, or the surfaces' own colours where there are normals."""
    mask: Pixels
    """(S, S) coverage."""
    parsing: Pixels
    """(S, S) classes."""
    camera: Camera
    normals: Array | None
    """(S, S, 3) float32 unit normals in the head frame, where the view is to be lit."""
    points: Array | None
    """(68, 3) landmarks in the head frame, where they are known."""
    beard: Pixels | None = None
    """(S, S) 255 where hair is beard, else 0; None where that is not known."""


class Views:
    """All views of some folders of shards, by number."""

    def __init__(self, folders: Sequence[str | Path], limit: int = 0, each: int = 0) -> None:
        """Read the shards of the folders into memory.

        Args:
            folders: folders with .tar shards.
            limit: most views to keep; 0 for all.
            each: most views to keep of one folder; 0 for all.

        Raises:
            ValueError: there is no view with camera, mask and classes.
        """
        self.members: list[dict[str, bytes]] = []
        self.keys: list[str] = []
        self._order: tuple[tuple[int, int], Array] | None = None
        for folder in folders:
            most = min(limit or sys.maxsize, len(self.keys) + each if each else sys.maxsize)
            for path in sorted(Path(folder).glob("*.tar")):
                with path.open("rb") as file:
                    for key, members in iterate(file, path.name):
                        if {"cam.json", "mask.png", "seg.png"} <= set(members) and len(self.keys) < most:
                            self.keys.append(key)
                            self.members.append(members)
        if not self.keys:
            raise ValueError(
                f"expected shards with cam.json, mask.png and seg.png in {', '.join(map(str, folders))}, found none"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def parted(self, share: float) -> tuple[Views, Views]:
        """Return about the first `share` of the views and the others, cut between people; each part has one or more.

        Args:
            share: of the views, in the first part at most, but of one person where that has more.

        Raises:
            ConfigError: all views are of one person.
        """
        people = [person_of(key, members) for key, members in zip(self.keys, self.members, strict=True)]
        counts = Counter(people)  # in the order in which they come
        if len(counts) < 2:
            views = f"{len(self)} view{'s' if len(self) > 1 else ''} of one person"
            raise ConfigError(
                f"expected rendered views of two people or more, some to learn from and others to be judged on, got {views}; "
                "render more (spherehead annotators views), or leave --data out"
            )
        ends = np.cumsum(list(counts.values()))
        held = min(max(1, int((ends <= round(share * len(self))).sum())), len(counts) - 1)
        early = set(list(counts)[:held])
        first, second = Views.__new__(Views), Views.__new__(Views)
        for part, wanted in ((first, True), (second, False)):
            rows = [row for row, person in enumerate(people) if (person in early) is wanted]
            part.members, part.keys, part._order = [self.members[row] for row in rows], [self.keys[row] for row in rows], None
        return first, second

    def in_passes(self, number: int, seed: int) -> int:
        """Return the view of a crop by number: each pass shows every view once, in an order of its own.

        Args:
            number: of the crop.
            seed: of the orders.
        """
        passed, place = divmod(number, len(self))
        order = self._order  # another thread may draw a batch of another pass meanwhile
        if order is None or order[0] != (seed, passed):
            order = self._order = (seed, passed), np.random.default_rng([seed, passed]).permutation(len(self))
        return int(order[1][place])

    def view(self, number: int) -> View:
        """Decode a view."""
        members = self.members[number]
        suffix = next(suffix for suffix in IMAGE_SUFFIXES if suffix in members)
        normals = None
        if "normal.jpg" in members:
            normals = decode_image(members["normal.jpg"]).astype(np.float32) * np.float32(1 / 127.5) - np.float32(1)
        points = np.array(json.loads(members["points.json"])) if "points.json" in members else None
        camera = Camera.from_label(np.array(json.loads(members["cam.json"])))
        parsing = decode_grey(members["seg.png"])
        beard = decode_grey(members[BEARD]) if BEARD in members else None
        return View(decode_image(members[suffix]), decode_grey(members["mask.png"]), parsing, camera, normals, points, beard)


def person_of(key: str, members: Mapping[str, bytes]) -> str:
    """Return whom a view shows: the person or identity that its record names, else the sample that it was derived from, else
    `name` of a key `name-number`, else the key itself, as of a photograph of which nothing is known."""
    record = json.loads(members["json"]) if "json" in members else {}
    told = next((record[name] for name in ("person", "identity", "parent") if record.get(name)), "")
    return str(told) or key.rpartition("-")[0] or key


def warped(view: View, matrix: Array, size: int) -> tuple[Pixels, Pixels, Pixels, Array | None]:
    """Resample a view's image, mask, classes and normals into `size` pixels by a (3, 3) affine map of continuous pixels.

    What lies outside the view is uncovered.
    """
    affine, side = of_pixels(matrix), (size, size)
    image = cv2.warpAffine(view.image, affine, side, flags=cv2.INTER_LINEAR)
    mask = cv2.warpAffine(view.mask, affine, side, flags=cv2.INTER_LINEAR)
    parsing = cv2.warpAffine(view.parsing, affine, side, flags=cv2.INTER_NEAREST)
    normals = None if view.normals is None else np.asarray(cv2.warpAffine(view.normals, affine, side, flags=cv2.INTER_LINEAR))
    return np.asarray(image), np.asarray(mask), np.asarray(parsing), normals


def warped_beard(view: View, matrix: Array, size: int) -> Pixels | None:
    """Resample where a view's hair is beard as `warped` does its classes; None where that is not known."""
    if view.beard is None:
        return None
    return np.asarray(cv2.warpAffine(view.beard, of_pixels(matrix), (size, size), flags=cv2.INTER_NEAREST))


def of_pixels(matrix: Array) -> Array:
    """Return the (2, 3) map between pixels' indices of a (3, 3) one between continuous pixels."""
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    return np.asarray((np.linalg.inv(half) @ matrix @ half)[:2])
