"""Strands as round curves for path tracing: what Mitsuba's `linearcurve` is made of, as arrays.

They are the same from every side, so that a person's scene is built once. Ribbons that face the camera, which came before,
took up to 13 s a picture to build for grown hair, and left it lighter than strands that shade each other. Curves with Mitsuba's
`hair` material took up to three times as long and made black hair grey at the nine bounces that pictures have (mitsuba 3.9.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array
from ..hair.strands import StrandSet

POINT = b"0 0 0 1\n"
"""A point at the origin with a radius of 1, as the file has it."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Strands as chains of cylinders with round joints."""

    points: Array
    """(N, 4) float32: place in the head frame and radius, strand after strand."""
    lengths: Array
    """(S,) points of each strand, in the same order."""
    colours: Array
    """(M, 3) float32 linear colour of each segment, in the same order."""

    def skeleton(self) -> bytes:
        """Return a file in the format of `linearcurve` with as many points in as many curves, all of them at the origin.

        Mitsuba takes the number of points from a file only; the places are handed over as an array, which is exact.
        """
        curves = {length: POINT * length + b"\n" for length in np.unique(self.lengths).tolist()}
        return b"".join(curves[length] for length in self.lengths.tolist())


def curves_of(strands: StrandSet) -> Curves:
    """Return the curves of strands, each segment with the mean colour of its ends."""
    first = np.flatnonzero(strands.strand_of[1:] == strands.strand_of[:-1])
    _, lengths = np.unique(strands.strand_of, return_counts=True)
    colours = 0.5 * (strands.colours[first] + strands.colours[first + 1])
    return Curves(np.column_stack([strands.points, strands.radii]).astype(np.float32), lengths, colours.astype(np.float32))
