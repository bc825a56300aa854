"""Damage that only pixels show: traces which a broken JPEG leaves although every decoder reads it without complaint.

What is done about a trace is `decode`'s business.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Pixels

FILL = 128
"""The grey with which JPEG decoders fill blocks that never came."""
_ROWS = 64
SHIFT_RATIO = 2.0
"""How many times larger than its spread a step along a row of blocks must be to count as a shift."""
SHIFT_LEVELS = 5.0
"""Smallest step in levels of 255 that counts as a shift."""


def grey_tail(pixels: Pixels) -> float:
    """Return the share of rows at the bottom that are the plain grey with which decoders fill what is missing, 0 to 1.

    A grey frame that also runs along the top is a frame, not a loss, and counts 0.

    Args:
        pixels: (H, W, C) uint8 as stored, before EXIF orientation; colours or inks.
    """
    if abs(int(pixels[-1, 0, 0]) - FILL) > 2 or not _is_fill(pixels[-1:])[0] or _is_fill(pixels[:1])[0]:
        return 0.0
    whole, count = len(pixels), 0
    for stop in range(whole, 0, -_ROWS):  # from below, a few rows at a time: the picture may be large
        filled = _is_fill(pixels[max(0, stop - _ROWS) : stop])[::-1]
        if not filled.all():
            return (count + int(np.argmin(filled))) / whole
        count += len(filled)
    return 1.0


def _is_fill(pixels: Pixels) -> Pixels:
    return np.asarray((np.abs(pixels.astype(np.int16) - FILL) <= 2).all(axis=(1, 2)))


def block_shift(pixels: Pixels, block: tuple[int, int]) -> str:
    """Describe a shift of brightness or colour that begins at one coded block and lasts, empty where there is none.

    JPEG stores each block's mean as the difference from the block before (ITU-T T.81, F.1.2.1), so one flipped bit shifts
    every later block by the same amount, and the decoder notices nothing. In the order of coding the steps across the upper
    edges of one row's worth of blocks, from the first shifted one on, then all agree, while the rest of those two rows shows
    no step. Straight edges of the scene fill whole rows and so fail the second half.

    Args:
        pixels: (H, W, 3) uint8 as stored, before EXIF orientation.
        block: (width, height) of one coded unit in pixels.
    """
    block = (max(block[0], 16), block[1])  # two narrow blocks count as one: half the work for 8 pixels of uncertainty
    rows, columns = (pixels.shape[0] - 2) // block[1], pixels.shape[1] // block[0]
    margin = max(2, columns // 24)
    if rows < 2 or columns < 2 * margin + 2:
        return ""
    steps = _steps(pixels, block, rows, columns)
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    squares = np.concatenate([[0.0], np.cumsum(steps * steps)])
    mean = (sums[columns:] - sums[:-columns]) / columns
    spread = (squares[columns:] - squares[:-columns]) / columns - mean**2
    ratio = mean**2 / (np.maximum(spread, 0.0) + 2.0)
    ratio[np.abs(mean) < SHIFT_LEVELS] = 0.0
    # a window that (nearly) fills one row cannot be told from a straight edge of the scene
    candidates = np.resize(ratio, (rows, columns)) * (np.arange(rows)[:, None] < rows - 1)
    best = int(np.argmax(candidates[:, margin : columns - margin + 1]))
    row, column = divmod(best, columns - 2 * margin + 1)
    column += margin
    shift = float(mean[row * columns + column])
    if candidates[row, column] < SHIFT_RATIO**2 or not _only_there(steps, row, column, shift):
        return ""
    place = f"row {(row + 1) * block[1]}, column {column * block[0]}"
    return f"from the block at {place} on, colours are shifted by {shift:+.0f} levels"


def _only_there(steps: Floats, row: int, column: int, shift: float) -> bool:
    """Tell whether both pieces of a window have the shift and the rest of the two rows has none."""
    inside = max(abs(float(part.mean()) - shift) for part in (steps[row, column:], steps[row + 1, :column]))
    outside = max(abs(float(part.mean())) for part in (steps[row, :column], steps[row + 1, column:]))
    return max(inside, outside) < 0.3 * abs(shift)


def _steps(pixels: Pixels, block: tuple[int, int], rows: int, columns: int) -> Floats:
    """Return (rows, columns) steps in levels across the upper edge of every block but the first row's.

    Red and blue are averaged, which sees luma and both chroma channels, at one column in eight. Steps are clipped to 40 levels,
    so that single strong edges do not outweigh a row.
    """
    width, height = block
    thin = pixels[:, width // 8 : columns * width : 8]
    above, below = thin[height - 1 :: height][:rows], thin[height::height][:rows]
    step = np.add(below[..., 0], below[..., 2], dtype=np.int16) - np.add(above[..., 0], above[..., 2], dtype=np.int16)
    mean = step.reshape(rows, columns, width // 8).mean(2, dtype=np.float64) / 2
    return np.asarray(np.clip(mean, -40, 40))
