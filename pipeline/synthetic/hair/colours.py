"""Colours of hair: natural ones, grey with age, and dyes for those whose hair is of one colour.

Styles of more than one colour and dyes of grown hair are drawn in `styles`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .look import Colour

NATURAL_HAIR: Mapping[str, tuple[Colour, float]] = {
    "black": ((0.07, 0.06, 0.06), 0.30), "dark brown": ((0.16, 0.11, 0.08), 0.26), "brown": ((0.29, 0.19, 0.12), 0.18),
    "auburn": ((0.36, 0.17, 0.09), 0.05), "red": ((0.52, 0.25, 0.11), 0.03), "dark blond": ((0.46, 0.35, 0.21), 0.10),
    "blond": ((0.68, 0.54, 0.34), 0.08),
}  # fmt: skip
"""Hair colour -> (colour, share among people of European ancestry)."""
GREY: Colour = (0.62, 0.61, 0.60)
DYED: tuple[Colour, ...] = ((0.20, 0.32, 0.62), (0.60, 0.18, 0.40), (0.22, 0.45, 0.32), (0.45, 0.10, 0.12), (0.48, 0.32, 0.60))


def draw_colour(caucasian: float, grey: float, dyed: float, random: np.random.Generator) -> tuple[Colour, bool]:
    """Draw a hair colour.

    Args:
        caucasian: share of European ancestry; other hair is black or dark brown.
        grey: how grey natural hair is, 0 to 1.
        dyed: chance of a colour that no hair has.
        random: source of randomness.

    Returns:
        The colour, and whether it is dyed.
    """
    is_dyed = bool(random.random() < dyed)
    if is_dyed:
        base = np.array(DYED[int(random.integers(len(DYED)))])
    else:
        names = list(NATURAL_HAIR)
        shares = np.array([NATURAL_HAIR[name][1] for name in names])
        dark = np.array([1.0, 0.25] + [0.0] * (len(names) - 2))
        weights = caucasian * shares / shares.sum() + (1.0 - caucasian) * dark / dark.sum()
        base = np.array(NATURAL_HAIR[names[int(random.choice(len(names), p=weights / weights.sum()))]][0])
        base = base * (1.0 - grey) + np.array(GREY) * grey
    colour = np.clip(base * np.exp(random.normal(0.0, 0.12)) * np.exp(random.normal(0.0, 0.03, 3)), 0.01, 0.95)
    red, green, blue = colour.tolist()
    return (red, green, blue), is_dyed
