"""A face drawn at random as weights of MakeHuman's morphs: sex, age and ancestry, details, and an expression.

Hair, skin, clothes and glasses are drawn by `population`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

ANCESTRIES = ("african", "asian", "caucasian")


def macro_weights(male: float, age: float, ancestry: Sequence[float], children: np.random.Generator | None) -> dict[str, float]:
    """Return the weights of the macro targets; they sum to 1, because the base mesh alone is nobody."""
    stages = {"young": 1.0 - age, "old": age}
    if children is not None and children.random() < 0.2:
        stages = {"child": 1.0, "young": 0.0}
    return {
        f"macrodetails/{people}-{sex}-{stage}": share * part * weight
        for people, share in zip(ANCESTRIES, ancestry, strict=True)
        for sex, part in (("female", 1.0 - male), ("male", male))
        for stage, weight in stages.items()
    }


def build_weights(macro: Mapping[str, float], random: np.random.Generator) -> dict[str, float]:
    """Draw how heavy and how muscular somebody is, as weights of the morphs that `assets fetch morphs` brings.

    Weight and muscle are values in [0, 1], of which 0.5 is the mean and the base of `macro_weights`; morphs at the ends and in
    the middle of both are blended linearly, for each sex and age by its weight, as MakeHuman does.

    Args:
        macro: what `macro_weights` gave.
        random: what they are drawn with.
    """
    weight, muscle = (float(np.clip(random.normal(mean, 0.22), 0.0, 1.0)) for mean in (0.55, 0.5))
    found: dict[str, float] = {}
    for name, share in macro.items():
        _, sex, stage = name.rsplit("-", 2)
        for muscular, of_muscle in _ends(muscle).items():
            for heavy, of_weight in _ends(weight).items():
                if (muscular, heavy) != ("average", "average") and share * of_muscle * of_weight > 0.0:
                    key = f"macrodetails/universal-{sex}-{stage}-{muscular}muscle-{heavy}weight"
                    found[key] = found.get(key, 0.0) + share * of_muscle * of_weight
    return found


def _ends(value: float) -> dict[str, float]:
    low, high = max(0.0, 1.0 - 2.0 * value), max(0.0, 2.0 * value - 1.0)
    return {"min": low, "average": 1.0 - low - high, "max": high}


OPPOSITES = (
    ("-decr", "-incr"), ("-in", "-out"), ("-up", "-down"), ("-backward", "-forward"), ("-concave", "-convex"),
    ("-compress", "-uncompress"),
)  # fmt: skip
"""Endings of the two ends of one slider."""
SPREADS: Mapping[str, float] = {
    "head": 0.16, "forehead": 0.25, "chin": 0.25, "cheek": 0.28, "nose": 0.26, "mouth": 0.24, "eyes": 0.22, "ears": 0.25,
    "neck": 0.16, "eyebrows": 0.3,
}  # fmt: skip
"""Folder of morphs -> standard deviation of its sliders, of which 1 is the end."""
LEFT_OUT = ("ears/l-ear-shape-pointed", "ears/l-ear-shape-triangle", "head/head-trans", "neck/neck-trans", "nose/nose-trans")
"""Beginnings of morphs that leave the plausible or only move the whole."""
FACE_SHAPES = ("oval", "round", "square", "rectangular", "triangular", "diamond", "invertedtriangular")


def sliders(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Pair morphs to sliders: name -> (target at -1, target at +1), an end that has no target being empty."""
    known, found = set(names), {}
    for name in names:
        for low, high in OPPOSITES:
            if name.endswith(low) and name.removesuffix(low) + high in known:
                found[name.removesuffix(low)] = (name, name.removesuffix(low) + high)
    return found


@lru_cache(maxsize=4)
def _sorted_sliders(names: tuple[str, ...]) -> tuple[tuple[str, tuple[str, str]], ...]:
    return tuple(sorted(sliders(names).items()))


def detail_weights(names: Sequence[str], random: np.random.Generator) -> dict[str, float]:
    """Draw the details of a face: sliders, its outline, and a little asymmetry."""
    drawn: dict[str, float] = {}
    known = set(names)
    for slider, (low, high) in _sorted_sliders(tuple(names)):
        folder, _, base = slider.partition("/")
        spread = SPREADS.get(folder, 0.0)
        if not spread or slider.startswith(LEFT_OUT) or base.startswith("r-"):
            continue
        value = min(max(float(random.normal(0.0, spread)), -2.2 * spread), 2.2 * spread)
        sides = [(low, high, value)]
        if base.startswith("l-"):  # both sides alike, but for a little
            other = [name.replace("/l-", "/r-") for name in (low, high)]
            sides.append((other[0], other[1], value + float(random.normal(0.0, 0.04))))
        for first, second, amount in sides:
            if first in known and second in known:
                drawn[second if amount > 0 else first] = abs(amount)
    outline = f"head/head-{FACE_SHAPES[int(random.integers(len(FACE_SHAPES)))]}"
    if outline in names:
        drawn[outline] = float(random.uniform(0.0, 0.5))
    for name in names:
        if name.startswith("asym/asym-"):
            drawn[name] = float(np.clip(random.normal(0.0, 0.10), 0.0, 0.3))
    return drawn


EXPRESSIONS: Mapping[str, tuple[float, Mapping[str, tuple[float, float]]]] = {
    "smile": (0.40, {
        "mouth-corner-puller": (0.35, 0.9), "mouth-retraction": (0.0, 0.3), "eye-left-slit": (0.0, 0.35),
        "eye-right-slit": (0.0, 0.35), "mouth-parling": (0.0, 0.3),
    }),
    "laugh": (0.12, {
        "mouth-corner-puller": (0.5, 0.9), "mouth-open": (0.1, 0.3), "eye-left-slit": (0.2, 0.5), "eye-right-slit": (0.2, 0.5),
        "mouth-elevation": (0.0, 0.3),
    }),
    "speech": (0.16, {"mouth-open": (0.06, 0.28), "mouth-parling": (0.0, 0.5), "mouth-pursing": (0.0, 0.25)}),
    "surprise": (0.06, {
        "mouth-open": (0.1, 0.4), "eyebrows-left-up": (0.4, 0.9), "eyebrows-right-up": (0.4, 0.9),
        "eye-left-opened-up": (0.2, 0.6), "eye-right-opened-up": (0.2, 0.6),
    }),
    "frown": (0.12, {
        "eyebrows-left-down": (0.3, 0.8), "eyebrows-right-down": (0.3, 0.8), "mouth-depression": (0.0, 0.35),
        "mouth-compression": (0.0, 0.5),
    }),
    "sad": (0.08, {
        "eyebrows-left-inner-up": (0.3, 0.8), "eyebrows-right-inner-up": (0.3, 0.8), "mouth-depression": (0.1, 0.5),
        "eye-left-closure": (0.1, 0.35), "eye-right-closure": (0.1, 0.35),
    }),
    "asleep": (0.06, {"eye-left-closure": (0.95, 1.0), "eye-right-closure": (0.95, 1.0)}),
}  # fmt: skip
"""Expression -> (share, {unit: range}); the right half follows the left half of each pair."""


MORE_EXPRESSIONS: Mapping[str, tuple[float, Mapping[str, tuple[float, float]]]] = {
    "shout": (0.10, {
        "mouth-open": (0.4, 0.75), "mouth-parling": (0.0, 0.5), "eye-left-slit": (0.0, 0.6), "eye-right-slit": (0.0, 0.6),
        "eyebrows-left-down": (0.0, 0.6), "eyebrows-right-down": (0.0, 0.6),
    }),
    "yawn": (0.04, {"mouth-open": (0.5, 0.8), "eye-left-closure": (0.95, 1.0), "eye-right-closure": (0.95, 1.0)}),
    "kiss": (0.08, {"mouth-pursing": (0.4, 0.8), "mouth-protusion": (0.2, 0.8)}),
    "pout": (0.08, {
        "mouth-eversion": (0.3, 0.9), "mouth-depression": (0.2, 0.7), "eyebrows-left-inner-up": (0.0, 0.6),
        "eyebrows-right-inner-up": (0.0, 0.6),
    }),
    "disgust": (0.10, {
        "nose-left-elevation": (0.4, 1.0), "nose-right-elevation": (0.4, 1.0), "mouth-upward-retraction": (0.2, 0.7),
        "eyebrows-left-down": (0.3, 0.9), "eyebrows-right-down": (0.3, 0.9), "eye-left-slit": (0.1, 0.5),
        "eye-right-slit": (0.1, 0.5),
    }),
    "fear": (0.07, {
        "eyebrows-left-inner-up": (0.5, 1.0), "eyebrows-right-inner-up": (0.5, 1.0), "eye-left-opened-up": (0.3, 0.9),
        "eye-right-opened-up": (0.3, 0.9), "mouth-depression-retraction": (0.2, 0.7), "neck-platysma": (0.2, 0.8),
    }),
    "grimace": (0.08, {
        "mouth-parling": (0.5, 1.0), "mouth-retraction": (0.3, 0.8), "neck-platysma": (0.3, 0.9),
        "nose-compression": (0.0, 0.5),
    }),
    "wink": (0.08, {"eye-left-closure": (0.95, 1.0), "mouth-corner-puller": (0.2, 0.7)}),
    "wink right": (0.08, {"eye-right-closure": (0.95, 1.0), "mouth-corner-puller": (0.2, 0.7)}),
    "doubt": (0.08, {"eyebrows-left-up": (0.5, 1.0), "eyebrows-right-down": (0.2, 0.6), "mouth-part-later": (0.0, 0.5)}),
    "flare": (0.05, {"nose-left-dilatation": (0.4, 1.0), "nose-right-dilatation": (0.4, 1.0), "mouth-compression": (0.3, 0.8)}),
}  # fmt: skip
"""Further and stronger expressions, of people with `people.faces=wide`."""
SINGLE = ("wink", "wink right", "doubt")
"""Expressions of one half of the face, or of unlike halves."""


def expression_weights(share: float, random: np.random.Generator, wide: bool = False) -> dict[str, float]:
    """Draw an expression, mostly weak; of the wider choice where told."""
    if random.random() >= share:
        return {}
    known = {**EXPRESSIONS, **MORE_EXPRESSIONS} if wide else EXPRESSIONS
    names = list(known)
    weights = np.array([known[name][0] for name in names])
    name = names[int(random.choice(len(names), p=weights / weights.sum()))]
    units = known[name][1]
    strength = float(random.uniform(0.5, 1.0))
    drawn: dict[str, float] = {}
    for unit, (low, high) in units.items():
        left = f"expression/units/caucasian/{unit.replace('right', 'left')}"
        fixed = 1.0 if low >= 0.95 else strength
        own = float(random.uniform(low, high)) * fixed
        drawn[f"expression/units/caucasian/{unit}"] = drawn.get(left, own) if "right" in unit and name not in SINGLE else own
    return drawn
