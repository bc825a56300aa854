"""Expressions of face units: MakeHuman's asset pack of 52 single movements, drawn alone, in pairs and as whole expressions.

The units are those of ARKit's blend shapes; `assets fetch morphs` brings them. Eyes turn by a person's gaze, so that the eight
units of looks are not drawn. Expressions of the base mesh's own units are `morphs`' business.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

FOLDER = "faceunits/"
"""Beginning of the units' names as morphs."""
PAIRED = (
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown",
    "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
)  # fmt: skip
"""Units of a left and a right half."""
SINGLE = (
    "browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "tongueOut",
)  # fmt: skip
"""Units of the whole face."""
Recipe = Mapping[str, tuple[float, float]]
WHOLE: Mapping[str, tuple[float, Recipe]] = {
    "smile": (0.20, {"mouthSmile": (0.4, 1.0), "cheekSquint": (0.2, 0.8), "eyeSquint": (0.0, 0.5), "mouthDimple": (0.0, 0.4)}),
    "laugh": (0.12, {
        "mouthSmile": (0.6, 1.0), "jawOpen": (0.2, 0.55), "mouthUpperUp": (0.2, 0.6), "cheekSquint": (0.4, 1.0),
        "eyeSquint": (0.2, 0.8), "mouthLowerDown": (0.0, 0.4),
    }),
    "anger": (0.09, {
        "browDown": (0.5, 1.0), "eyeSquint": (0.2, 0.7), "mouthPress": (0.2, 0.9), "noseSneer": (0.0, 0.6),
        "jawForward": (0.0, 0.5),
    }),
    "shout": (0.07, {
        "browDown": (0.3, 0.9), "jawOpen": (0.6, 1.0), "mouthUpperUp": (0.3, 0.8), "mouthLowerDown": (0.3, 0.9),
        "noseSneer": (0.2, 0.8), "eyeSquint": (0.0, 0.6),
    }),
    "sadness": (0.09, {
        "browInnerUp": (0.4, 1.0), "mouthFrown": (0.3, 1.0), "mouthShrugLower": (0.0, 0.7), "eyeBlink": (0.0, 0.3),
    }),
    "fear": (0.06, {
        "browInnerUp": (0.5, 1.0), "browOuterUp": (0.2, 0.7), "eyeWide": (0.5, 1.0), "mouthStretch": (0.3, 1.0),
        "jawOpen": (0.0, 0.4),
    }),
    "surprise": (0.08, {
        "browInnerUp": (0.4, 1.0), "browOuterUp": (0.5, 1.0), "eyeWide": (0.4, 1.0), "jawOpen": (0.25, 0.8),
        "mouthFunnel": (0.0, 0.4),
    }),
    "disgust": (0.08, {
        "noseSneer": (0.5, 1.0), "mouthUpperUp": (0.3, 0.9), "browDown": (0.2, 0.8), "eyeSquint": (0.1, 0.6),
        "mouthShrugLower": (0.0, 0.6),
    }),
    "contempt": (0.05, {"mouthDimple": (0.4, 1.0), "mouthSmile": (0.0, 0.3), "eyeBlink": (0.0, 0.25)}),
    "kiss": (0.06, {"mouthPucker": (0.6, 1.0), "mouthFunnel": (0.0, 0.4), "eyeBlink": (0.0, 1.0)}),
    "puff": (0.04, {"cheekPuff": (0.5, 1.0), "mouthPress": (0.2, 0.6)}),
    "tongue": (0.04, {"tongueOut": (0.6, 1.0), "jawOpen": (0.35, 0.7), "eyeSquint": (0.0, 0.6)}),
    "yawn": (0.03, {"jawOpen": (0.8, 1.0), "eyeBlink": (0.8, 1.0), "browInnerUp": (0.0, 0.5)}),
    "sleep": (0.05, {"eyeBlink": (1.0, 1.0)}),
}  # fmt: skip
"""Expression -> (share, {unit: range}), the shares as they are drawn among themselves."""
WHOLE_SHARE = 0.6
"""Share of the expressions that are whole ones; the others are a few units at random."""
EXCLUDE = (
    ("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"), ("mouthSmile", "mouthFrown"), ("mouthSmile", "mouthPucker"),
    ("mouthFunnel", "mouthSmile"), ("mouthFunnel", "mouthStretch"), ("mouthPucker", "mouthStretch"), ("eyeWide", "eyeBlink"),
    ("eyeWide", "eyeSquint"), ("browDown", "browOuterUp"), ("mouthPress", "jawOpen"), ("mouthRollLower", "mouthLowerDown"),
    ("mouthRollUpper", "mouthUpperUp"), ("cheekPuff", "jawOpen"), ("tongueOut", "cheekPuff"),
)  # fmt: skip
"""Units that no face has at once, or only to half."""
UNEVEN = 0.12
"""Standard deviation by which the two halves differ."""
ONE_SIDED = {
    "eyeBlink": 0.25,
    "mouthSmile": 0.15,
    "mouthDimple": 0.5,
    "browOuterUp": 0.3,
    "mouthUpperUp": 0.2,
    "noseSneer": 0.15,
}
"""Unit -> share of the random draws in which only one half moves."""


def unit_weights(share: float, random: np.random.Generator) -> dict[str, float]:
    """Draw an expression of face units.

    Args:
        share: of the people that have another expression than none.
        random: what it is drawn with.

    Returns:
        Name of a morph -> weight in (0, 1].
    """
    if random.random() >= share:
        return {}
    drawn = _whole(random) if random.random() < WHOLE_SHARE else _few(random)
    if "tongueOut" in drawn:  # closed teeth would cut it
        drawn["jawOpen"] = max(drawn.get("jawOpen", 0.0), 0.35)
    if "mouthClose" in drawn:  # closes what the jaw opens, and no more
        drawn["mouthClose"] = min(drawn["mouthClose"], drawn.get("jawOpen", 0.0))
    found: dict[str, float] = {}
    for unit, weight in drawn.items():
        for name, half in _halves(unit, weight, random):
            if half > 0.0:
                found[FOLDER + name] = half
    return found


def _whole(random: np.random.Generator) -> dict[str, float]:
    shares = np.array([share for share, _ in WHOLE.values()])
    _, recipe = list(WHOLE.values())[int(random.choice(len(WHOLE), p=shares / shares.sum()))]
    strength = float(random.uniform(0.5, 1.0))
    return {unit: float(random.uniform(low, high)) * (1.0 if low >= 0.8 else strength) for unit, (low, high) in recipe.items()}


def _few(random: np.random.Generator) -> dict[str, float]:
    """Draw one to four units, none of which excludes another."""
    drawn: dict[str, float] = {}
    units = (*PAIRED, *SINGLE)
    for number in random.permutation(len(units))[: int(random.integers(1, 5))].tolist():
        unit = units[number]
        if not any(unit in pair and any(other in drawn for other in pair) for pair in EXCLUDE):
            drawn[unit] = float(random.uniform(0.3, 1.0))
    return drawn


def _halves(unit: str, weight: float, random: np.random.Generator) -> list[tuple[str, float]]:
    """Return the morphs of a unit with their weights: both halves nearly alike, or one of them."""
    if unit not in PAIRED:
        return [(unit, weight)]
    if random.random() < ONE_SIDED.get(unit, 0.0):
        return [(unit + ("Left", "Right")[int(random.integers(2))], weight)]
    uneven = UNEVEN * float(random.standard_normal()) * weight
    halves = {"Left": weight + 0.5 * uneven, "Right": weight - 0.5 * uneven}
    return [(unit + side, min(max(half, 0.0), 1.0)) for side, half in halves.items()]
