"""Whether the back of a head shows its face: three scores of the view from behind beside the mirrored view from the front.

Planes that are looked up by projection give points before and behind them the same features, so the back of a head tends to
become its front, mirrored (An et al. 2023, sec. 1 and fig. 3; Li et al. 2024, sec. 1, call the wrong faces artefacts of
mirroring). Neither publishes a number for it; the scores here are this toolkit's own. Which views are taken is left to the
caller: front and back must be seen from opposite cameras, whose outlines are each other's mirror image.

- `luminance`: Pearson's correlation of luminance inside the head, coarse: also high where front and back are lit or coloured
  alike, so it is read beside the same score of real heads;
- `detail`: the same after taking away what is coarser than a sixteenth of the side: eyes, mouth and outlines of hair, where a
  real back has hair of its own;
- `face_parts`: the share of the back's pixels, without background, that are parsed as brows, eyes, nose, mouth or lips.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...datasets.arrays import Array, Pixels
from ...datasets.classes import INDEX

Floats = NDArray[np.float64]
FACE_PARTS = tuple(
    INDEX[name] for name in ("left_brow", "right_brow", "left_eye", "right_eye", "nose", "mouth", "upper_lip", "lower_lip")
)
"""Classes that the back of a head cannot show; ears, glasses and skin can be seen from behind."""
LUMA = (0.2126, 0.7152, 0.0722)
"""Rec. 709 weights of red, green and blue."""
DETAIL = 1 / 16
"""Standard deviation of the Gaussian that is taken away, as a share of the side: twice an eye's width of a head in the crop."""
LEAST = 0.02
"""Share of the picture that both outlines must cover."""


@dataclass(frozen=True)
class MirrorScores:
    """Scores of one head, or the mean over heads; NaN where there is nothing to compare."""

    luminance: float
    """Correlation of luminance, [-1, 1]."""
    detail: float
    """Correlation of high-passed luminance, [-1, 1]."""
    face_parts: float
    """Share of the back parsed as parts of a face, [0, 1]."""


@dataclass(frozen=True)
class MirrorSummary:
    """Mean scores over heads with their standard errors."""

    mean: MirrorScores
    error: MirrorScores
    count: int
    """Heads with an outline from both sides."""


def mirror_scores(
    front: Pixels, back: Pixels, front_mask: Array, back_mask: Array, back_parsing: Pixels | None = None
) -> MirrorScores:
    """Compare the view from behind with the mirrored view from the front.

    Args:
        front: (S, S, 3) uint8 sRGB, the head from one camera.
        back: (S, S, 3) the same head from the opposite camera.
        front_mask: (r, r) share of the head, [0, 1]; any side.
        back_mask: the same from behind.
        back_parsing: (p, p) uint8 classes from behind, if known.
    """
    side = front.shape[0]
    inside = (_fitted(front_mask, side)[:, ::-1] >= 0.5) & (_fitted(back_mask, side) >= 0.5)
    parts = float("nan") if back_parsing is None else face_parts(back_parsing)
    if inside.mean() < LEAST:
        return MirrorScores(float("nan"), float("nan"), parts)
    first, second = luminance(front)[:, ::-1], luminance(back)
    return MirrorScores(
        correlation(first[inside], second[inside]),
        correlation(detail(first, inside)[inside], detail(second, inside)[inside]),
        parts,
    )


def luminance(picture: Pixels) -> Floats:
    """Return the (H, W) weighted sum of an sRGB picture's values, [0, 1]."""
    return np.asarray(picture @ np.array(LUMA) / 255.0, dtype=np.float64)


def detail(values: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Return values less their Gaussian mean over the pixels inside, so that the outline itself makes no detail."""
    sigma = DETAIL * len(values)
    weight = inside.astype(np.float64)
    near = cv2.GaussianBlur(values * weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    share = cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.where(inside, values - near / np.maximum(share, 1e-9), 0.0)


def correlation(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation; 0 where one side is constant, because then nothing of the other is repeated."""
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 1e-12 * len(a) else 0.0


def face_parts(parsing: Pixels) -> float:
    """Return the share of pixels that are parts of a face among those that are not background; NaN if all are."""
    head = parsing != 0
    return float(np.isin(parsing[head], FACE_PARTS).mean()) if head.any() else float("nan")


def summarise(scores: Iterable[MirrorScores]) -> MirrorSummary:
    """Return means and standard errors over heads; heads without a score do not count in it."""
    table = np.array([(item.luminance, item.detail, item.face_parts) for item in scores], dtype=np.float64).reshape(-1, 3)
    means, errors = [], []
    for column in table.T:
        known = column[~np.isnan(column)]
        means.append(float(known.mean()) if len(known) else float("nan"))
        errors.append(float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan"))
    return MirrorSummary(MirrorScores(*means), MirrorScores(*errors), int((~np.isnan(table[:, 0])).sum()))


def _fitted(mask: Array, side: int) -> Floats:
    """Return a mask as (side, side) float64."""
    plain = np.asarray(mask, dtype=np.float64)
    if len(plain) == side:
        return plain
    way = cv2.INTER_AREA if len(plain) > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plain, (side, side), interpolation=way), dtype=np.float64)
