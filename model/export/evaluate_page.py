"""The table and the page of `evaluate`: how rows of scores read.

What is measured is left to `evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluation.evaluation import SIDES
from ..evaluation.faces import FaceCount

if TYPE_CHECKING:
    from .evaluate import RunScores, Scores

HEAD = (
    "run", "pictures", "Frechet all / front / back", "kernel", "precision", "recall", "mirror: luminance", "detail",
    "face parts behind", "faces in front", "faces behind", "whole faces in front", "behind", "rotation off", "classes (IoU)",
    "identity: same head / others", "same nearer", "known persons: PSNR", "mask IoU", "depth off",
    "s a picture", "peak memory",
)  # fmt: skip
"""Columns of the table."""


def table_rows(scores: Scores) -> list[tuple[str, ...]]:
    """Return the rows of the table as text, in the order of `HEAD`."""
    return [tuple(_cells(row)) for row in scores.rows]


def _cells(row: RunScores) -> Iterator[str]:
    yield row.name
    yield "-" if row.images is None else f"{row.images:,}"
    yield " / ".join(f"{row.distances[side].frechet:.1f}" if side in row.distances else "-" for side in SIDES)
    yield f"{row.distances['all'].kernel:.2f}" if "all" in row.distances else "-"
    for part in ("precision", "recall"):
        yield f"{getattr(row.coverage['all'], part):.2f}" if "all" in row.coverage else "-"
    for part in ("luminance", "detail", "face_parts"):
        yield "-" if row.mirror is None else _number(getattr(row.mirror.mean, part), ".3f")
    for side in ("front", "back"):
        faces: FaceCount | None = None if row.faces is None else getattr(row.faces, side)
        yield _share(faces)
    reading = row.reading
    for side in ("front", "back"):
        whole: FaceCount | None = None if reading is None else getattr(reading.faces, side)
        yield _share(whole)
    yield "-" if reading is None else f"{reading.degrees:.1f} deg"
    yield "-" if reading is None else _number(reading.class_iou, ".2f")
    identity = row.identity
    yield "-" if identity is None else f"{identity.same:.2f} / {identity.others:.2f}"
    yield "-" if identity is None else f"{100 * identity.separation:.0f} %"
    persons = row.persons
    yield "-" if persons is None or persons.psnr is None else f"{persons.psnr:.1f} dB"
    yield "-" if persons is None or persons.mask_iou is None else f"{persons.mask_iou:.3f}"
    yield "-" if persons is None or persons.depth_cm is None else f"{persons.depth_cm:.1f} cm"
    yield "-" if row.seconds is None else f"{row.seconds:.3f}"
    yield "-" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:,.0f} MiB"


def _number(value: float, form: str) -> str:
    """Write a number; a dash for NaN, which stands for none."""
    return "-" if math.isnan(value) else format(value, form)


def _share(faces: FaceCount | None) -> str:
    """Write the share of pictures that show a face; a dash where there are no pictures."""
    return "-" if faces is None or not faces.total else f"{100 * faces.rate:.1f} % of {faces.total}"


def page(scores: Scores, grids: Sequence[str]) -> str:
    """Return the HTML page: the table, what its numbers are, and the grids beside it."""

    def cells(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"

    body = "".join(cells(row, "td") for row in table_rows(scores))
    pictures = "".join(f'<h2>{escape(name[:-4])}</h2><img src="{escape(name)}" alt="">' for name in grids)
    detector = ""
    if scores.face_threshold is not None:
        detector = f" The detector counts from score {scores.face_threshold:.3f}, which 84 % of the data's fronts reach."
    if scores.identity:
        detector += f" {escape(scores.identity)}."
    style = "body{font:14px sans-serif;margin:2em}td,th{padding:.2em .6em;text-align:right}td:first-child{text-align:left}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>evaluation</title><style>{style}</style>'
        f"<h1>{escape(', '.join(Path(place).name for place in scores.data))}</h1><p>Distances on {escape(scores.features)}, "
        f"{scores.settings.count} pictures, psi {scores.settings.psi:g}.{detector}</p>"
        f"<table>{cells(HEAD, 'th')}{body}</table>{pictures}</html>\n"
    )
