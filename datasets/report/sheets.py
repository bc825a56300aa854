"""Sheets of pictures as one PNG: contact sheets, a picture for each direction, the worst by a score, the refused, overlays.

What is drawn on a picture is in `overlay`, which rows are shown in `inspect`, how pictures are laid out in `tiles`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ...manifests.config import ConfigError
from ...manifests.frames import present_columns, read_frame
from ...manifests.summary import BANDS, SECTORS, band_edges, sector_centres
from ..arrays import Array, Pixels
from ..shards.codec import Decoded, decode_image
from ..shards.inspect import PLACE, angles, pick_by_view, pick_random, pick_worst, read, refused_pictures
from .overlay import PANELS, Style, panels
from .tiles import FAINT, HOLE, INK, PAPER, degrees, draw_text, fit, grid, stack, text_band, write_png

Kind = Literal["random", "worst", "view", "refused", "overlay"]

_MOST_PIXELS = 1 << 28


@dataclass(frozen=True)
class SheetSettings:
    """What a sheet shows."""

    kind: Kind = "random"
    """random | worst (by `score`) | view (one for each direction) | refused (by reason) | overlay (label, matte, parsing)."""
    count: int = 24
    """Pictures at most; for refused, this maximum for each reason."""
    side: int = 160
    """Side of each picture in pixels; overlay panels are twice as large."""
    columns: int = 6
    """Pictures in a row."""
    seed: int = 0
    """Another seed picks other random pictures."""
    score: str = ""
    """Score that worst sorts by."""
    split: str = ""
    """Only this split, where given."""


def write_sheet(folder: Path, out: Path, settings: SheetSettings) -> int:
    """Draw a sheet of a data set as PNG.

    Args:
        folder: what `--out` was.
        out: file to write; its name ends in .png, so that no other file is lost to a slip.
        settings: what it shows.

    Returns:
        How many pictures it shows.

    Raises:
        ConfigError: `out` has another ending, or the sheet would have more than 2^28 pixels.
        LookupError: there is nothing to show, or no such score.
        ManifestError: there is no finished set.
    """
    if out.suffix.lower() != ".png":
        raise ConfigError(f"expected a file to write that ends in .png, got {str(out)!r}; only PNG is written")
    if settings.kind == "refused":
        pictures = {reason: [decode_image(path.read_bytes()) for path in paths] for reason, paths in
                    refused_pictures(folder, settings.count).items()}  # fmt: skip
        if not pictures:
            raise LookupError(f"nothing to show: {folder} keeps no thumbnails of refused pictures")
        _check_size(sum(map(len, pictures.values())), settings)
        write_png(out, refused_sheet(pictures, settings))
        return sum(map(len, pictures.values()))
    _check_score(folder, settings)
    columns = [*PLACE, "yaw_degrees", "pitch_degrees", *([f"score_{settings.score}"] if settings.score else [])]
    frame = read_frame(folder, columns)
    frame = frame[(frame["status"] == "kept") & ((frame["split"] == settings.split) | (not settings.split))]
    if frame.empty:
        raise LookupError(f"nothing to show: no kept rows in {folder}" + (f", split {settings.split!r}" * bool(settings.split)))
    if settings.kind == "view":
        _check_size(SECTORS * BANDS, settings)
        cells = pick_by_view(frame, settings.seed)
        shown = dict(zip(cells, read(folder, list(cells.values()), frame), strict=True))
        write_png(out, view_sheet({cell: sample.image for cell, sample in shown.items()}, settings.side))
        return len(shown)
    ids = pick_worst(frame, settings.score, settings.count) if settings.kind == "worst" else (
        pick_random(frame, settings.count, settings.seed))  # fmt: skip
    _check_size(len(ids), settings)
    samples = list(read(folder, ids, frame))
    if settings.kind == "overlay":
        write_png(out, overlay_sheet(samples, 2 * settings.side))
    else:
        write_png(out, contact_sheet(samples, settings, scores_of(frame, ids, settings.score)))
    return len(samples)


def _check_score(folder: Path, settings: SheetSettings) -> None:
    """Refuse a score that the table has no column of, and `worst` without one."""
    known = [name.removeprefix("score_") for name in present_columns(folder) if name.startswith("score_")]
    if settings.score not in known and (settings.score or settings.kind == "worst"):
        told = f"no score {settings.score!r} in {folder}" if settings.score else "the worst are those by a score: name one"
        raise LookupError(f"{told}; it has {', '.join(sorted(known)) or 'none'}")


def _check_size(count: int, settings: SheetSettings) -> None:
    """Refuse a sheet that no memory and no viewer takes."""
    panels_each = 4 * len(PANELS) if settings.kind == "overlay" else 1  # twice the side
    rows = count if settings.kind in ("overlay", "view") else -(-count // settings.columns) * settings.columns
    if rows * panels_each * settings.side**2 > _MOST_PIXELS:
        raise ConfigError(
            f"expected a sheet of at most {_MOST_PIXELS:,} pixels, got {count:,} pictures of side {settings.side} in "
            f"{settings.columns} columns; take fewer or smaller ones"
        )


def scores_of(frame: pd.DataFrame, ids: Sequence[str], score: str) -> list[str]:
    """Return "score value" for each id, empty texts where no score is asked for."""
    if not score:
        return [""] * len(ids)
    values = frame.set_index("id")[f"score_{score}"]
    return [f"{score} {float(values[key]):.4g}" for key in ids]


def caption(sample: Decoded) -> tuple[str, str]:
    """Return a sample's two lines: its id, and its direction in whole degrees."""
    found = angles(sample.camera)
    return sample.id, "no camera" if found is None else direction(*found)


def direction(yaw: float, pitch: float, roll: float) -> str:
    """Word a direction: yaw, pitch and roll in whole degrees."""
    return "  ".join(f"{name} {degrees(value)}" for name, value in (("yaw", yaw), ("pitch", pitch), ("roll", roll)))


def contact_sheet(samples: Sequence[Decoded], settings: SheetSettings, extra: Sequence[str] = ()) -> Pixels:
    """Lay pictures out in rows with their captions, and a third line where `extra` gives one."""
    lines = [(*caption(sample), *([text] if text else [])) for sample, text in zip(samples, [*extra, *[""] * len(samples)],
                                                                                 strict=False)]  # fmt: skip
    return grid([sample.image for sample in samples], lines, settings.columns, settings.side)


def refused_sheet(pictures: Mapping[str, Sequence[Pixels]], settings: SheetSettings) -> Pixels:
    """Lay refused pictures out, one band a reason."""
    bands = []
    for reason, images in pictures.items():
        block = grid(images, [() for _ in images], settings.columns, settings.side)
        bands += [text_band(reason, block.shape[1], INK), block]
    return stack(bands)


def overlay_sheet(samples: Sequence[Decoded], side: int) -> Pixels:
    """Lay samples out one a row: picture, label drawn on it, matte over a checkerboard, parsing."""
    gap = max(2, side // 80)
    rows = []
    for sample in samples:
        row = np.concatenate([_framed(panel, gap) for panel in panels(sample, Style(side=side))], axis=1)
        rows += [text_band("   ".join(caption(sample)), row.shape[1], INK), row]
    head = text_band("   |   ".join(PANELS) + "      axes: x red, y green, z blue;  yellow: canonical face,  cyan: landmarks,  "
                     "pink: matte at one half", rows[0].shape[1], FAINT)  # fmt: skip
    return stack([head, *rows])


def view_sheet(cells: Mapping[tuple[int, int], Pixels], side: int) -> Pixels:
    """Lay pictures out by direction: azimuth to the right, elevation upwards; directions without a picture stay empty.

    Args:
        cells: (band, sector) of the view table -> picture.
        side: side of each cell.
    """
    used = [band for band, _ in cells] + [BANDS // 2 - 1, BANDS // 2 + 1]
    bands = range(max(used), min(used) - 1, -1)
    margin, gap = 64, 3
    # the sector of the back comes last as well as first in azimuth; it is shown once, at the left
    sheet = np.full((30 + len(bands) * (side + gap) + gap, margin + SECTORS * (side + gap) + gap, 3), PAPER, dtype=np.uint8)
    edges = band_edges()
    for row, band in enumerate(bands):
        y = 30 + gap + row * (side + gap)
        label = f"{degrees(edges[band])} to\n{degrees(edges[band + 1])}"
        draw_text(sheet, label, (6, y + side // 2 - 14), FAINT, 12)
        for sector, centre in enumerate(sector_centres()):
            x = margin + gap + sector * (side + gap)
            if row == 0:
                draw_text(
                    sheet, degrees(centre).replace("-180", "±180"), (x + side // 2 - 14, 8), INK if centre == 0 else FAINT, 13
                )
            picture = cells.get((band, sector))
            sheet[y : y + side, x : x + side] = HOLE if picture is None else fit(picture, side)
    return sheet


def _framed(panel: Pixels, gap: int) -> Array:
    return np.pad(panel, ((0, gap), (gap, 0), (0, 0)), constant_values=PAPER[0])
