"""Whether a head keeps its face from view to view: distances of faces of one head beside those of different heads.

Faces are compared by dlib's face recognition network (`nets.face_recognition`). Absolute distances depend on light, size and
style of the pictures; how often two views of one head are nearer than views of two does not. The data's own persons are the
reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ...datasets.arrays import Array, Floats, Pixels
from ...datasets.shards.inspect import PLACE, read
from ...datasets.shards.storage import open_source
from ...datasets.streaming.index import read_header, read_rows
from ...manifests.frames import read_frame
from ...manifests.identity import unit_interval
from ..nets.face_chips import face_chips, face_visible
from ..nets.face_recognition import FaceRecognition

VIEW_DEGREES = 45.0
"""Largest azimuth of a compared view: at 60 degrees front and side of one rendered person are as far apart as of two."""
PITCH_DEGREES = 30.0
"""Largest elevation."""
PAIR_DEGREES = 10.0
"""Least angle of azimuth between two views of one head that are compared: equal views say nothing of identity."""


@dataclass(frozen=True)
class IdentitySummary:
    """Distances of faces."""

    same: float
    """Mean distance between two views of one head."""
    others: float
    """Mean distance between views of two heads."""
    separation: float
    """Chance that two views of one head are nearer than views of two heads: 1 for kept identities, 0.5 for none."""
    heads: int
    """Heads with two views or more."""
    pairs: int
    """Pairs of views of one head."""


def summarise_identities(vectors: Floats, heads: Sequence[int] | Array, azimuths: Floats) -> IdentitySummary | None:
    """Compare every two views.

    Args:
        vectors: (N, 128) of their faces.
        heads: (N,) number of each view's head.
        azimuths: (N,) of their cameras, in degrees.

    Returns:
        None where no head has two views, or there is one head only.
    """
    numbers = np.asarray(heads)
    first, second = np.triu_indices(len(numbers), 1)
    distances = np.linalg.norm(vectors[first] - vectors[second], axis=1)
    one = numbers[first] == numbers[second]
    same = distances[one & (np.abs(azimuths[first] - azimuths[second]) >= PAIR_DEGREES)]
    others = np.sort(distances[~one])
    if not len(same) or not len(others):
        return None
    below = np.searchsorted(others, same, "left") + np.searchsorted(others, same, "right")
    counts = np.unique(numbers, return_counts=True)[1]
    separation = 1.0 - float(below.mean()) / (2.0 * len(others))
    return IdentitySummary(float(same.mean()), float(others.mean()), separation, int((counts > 1).sum()), len(same))


@torch.no_grad()
def face_vectors(net: FaceRecognition, image: Tensor, camera: Tensor) -> Floats:
    """Return the (B, 128) vectors of the faces in (B, 3, R, R) pictures in [-1, 1] with (B, 25) labels."""
    return np.asarray(net(face_chips(image, camera)).double().cpu().numpy())


def picture_vector(net: FaceRecognition, picture: Pixels, label: Array, resolution: int) -> Floats:
    """Return the (128,) vector of one (S, S, 3) picture, brought to a resolution first, by which all sets compare."""
    device = net.mean.device
    if len(picture) != resolution:
        picture = np.asarray(cv2.resize(picture, (resolution, resolution), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    image = torch.from_numpy(np.ascontiguousarray(picture)).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    vector: Floats = face_vectors(net, image, torch.from_numpy(label)[None].to(device))[0]
    return vector


def data_identities(folders: Sequence[Path], net: FaceRecognition, resolution: int, most: int = 240) -> IdentitySummary | None:
    """Compare the faces of a data set's persons.

    Args:
        folders: finished sets.
        net: the face recognition network.
        resolution: side that pictures are brought to first.
        most: pictures, of whole persons in an order by a hash of their numbers. Of a person who has more than half of them,
            the first by id count, so that there is room for another.

    Returns:
        None where nobody is seen twice from in front.
    """
    vectors, heads, azimuths = [], [], []
    for folder in folders:
        persons = _front_views(folder)
        order = sorted(persons, key=lambda number: (unit_interval(f"identity/{number}"), number))
        chosen: list[tuple[str, int]] = []
        budget = most // len(folders)
        for number in order:
            own = persons[number][: budget // 2]
            if len(own) > 1 and len(chosen) + len(own) <= budget:
                chosen += [(key, number) for key in own]
        number_of = dict(chosen)
        frame = read_frame(folder, PLACE)
        for sample in read(folder, sorted(number_of), frame):
            assert sample.camera is not None
            vectors.append(picture_vector(net, sample.image, sample.camera.label(), resolution))
            heads.append(number_of[sample.id])
            azimuths.append(np.degrees(sample.camera.yaw))
    return summarise_identities(np.stack(vectors), heads, np.array(azimuths)) if vectors else None


def _front_views(folder: Path) -> dict[int, list[str]]:
    """Return the ids of pictures from in front by the number of their person, of those who have two or more."""
    source = open_source(folder)
    found: dict[int, list[str]] = {}
    for split in sorted({entry.split for entry in read_header(source).shards}):
        rows = read_rows([source], split)
        seen = face_visible(torch.from_numpy(rows.camera), (VIEW_DEGREES, PITCH_DEGREES)).numpy()
        for key, number in zip(rows.ids[seen].tolist(), rows.subject[seen].tolist(), strict=True):
            found.setdefault(number, []).append(key.decode())
    return {number: sorted(keys) for number, keys in found.items() if len(keys) > 1}
