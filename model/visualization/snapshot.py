"""What training shows of itself: fixed heads from all sides as a sheet, a video of a turn around them, and its film strip.

When a snapshot is due and which heads are fixed is left to `train`. Nothing random is drawn and no mode is changed, so that
a run with snapshots is the run without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...datasets.arrays import Pixels
from ...datasets.report.tiles import write_png
from ...manifests.config import ConfigError
from ..generator import Generator
from .orbit import OrbitSettings, film_strip, orbit_frames, tiles
from .pictures import heads_sheet
from .video import write_video
from .views import RenderSettings, View, each_view, head_styles, ring


@dataclass(frozen=True)
class SnapshotSettings:
    """What a snapshot holds."""

    views: int = 8
    """Cameras around each head on the sheet."""
    heads_in_orbit: int = 4
    """Heads in the video, the first ones; 0 for no video."""
    smallest: int = 128
    """Pictures of fewer pixels a side are enlarged to this."""
    largest: int = 256
    """Pictures of more pixels a side are reduced to this."""
    psi: float = 1.0
    """Truncation; 1 shows what is trained."""
    pitch: float = 0.0
    """Elevation of all cameras in radians."""
    orbit: OrbitSettings = OrbitSettings()
    """The turn; its frames must be a multiple of the views, which are taken from it."""

    def __post_init__(self) -> None:
        if self.views < 1 or self.heads_in_orbit < 0 or not 16 <= self.smallest <= self.largest:
            raise ConfigError(f"expected views >= 1, heads_in_orbit >= 0, 16 <= smallest <= largest, got {self}")
        if self.orbit.frames % self.views:
            raise ConfigError(f"expected orbit.frames to be a multiple of {self.views} views, got {self.orbit.frames}")

    def tile_size(self, resolution: int) -> int:
        """Return the width of the tiles for pictures of `resolution` pixels per side."""
        return min(max(resolution, self.smallest), self.largest)


@torch.no_grad()
def snapshot_pictures(
    generator: Generator,
    folder: Path,
    latents: Tensor,
    conditions: Tensor | None = None,
    *,
    step: int,
    names: Sequence[str] | None = None,
    rendering: RenderSettings | None = None,
    settings: SnapshotSettings = SnapshotSettings(),
) -> list[Path]:
    """Write the sheet and, where asked for, video and film strip of a generator's heads.

    Args:
        generator: the averaged one, not wrapped; left in its mode, on its device.
        folder: where `grid-<step>.png`, `orbit-<step>.webm` and `strip-<step>.png` go; made if absent.
        latents: (N, z_dim), the same at each snapshot.
        conditions: (N, condition_dim) what the mapping network sees; None for the frontal camera.
        step: number in the files' names, e.g. images shown so far.
        names: what stands before each head's row; its number where None.
        rendering: how far the networks have grown; None for fully.
        settings: what to show.

    Returns:
        The files written.
    """
    styles = head_styles(generator, latents, conditions, settings.psi)
    names = [f"head {index}" for index in range(len(latents))] if names is None else names
    rendering = rendering or RenderSettings()
    size = settings.tile_size(rendering.image_resolution or generator.settings.upsampler.resolution)
    rows: list[list[View]] = []
    turns: list[list[Pixels]] = []
    for index, ws in enumerate(styles.split(1)):
        turning = index < settings.heads_in_orbit
        count = settings.orbit.frames if turning else settings.views
        row, turn = [], []
        for number, view in enumerate(each_view(generator, ws, ring(count, settings.pitch), rendering)):
            if number % (count // settings.views) == 0:
                row.append(view)
            if turning:
                turn += tiles([view], size)
        rows.append(row)
        turns += [turn] if turning else []
    written = [folder / f"grid-{step:08d}.png"]
    write_png(written[0], heads_sheet(rows, names, size))
    if turns:
        video = folder / f"orbit-{step:08d}.webm"
        written.append(write_video(video, orbit_frames(turns, settings.orbit.columns), settings.orbit.fps))
        written.append(folder / f"strip-{step:08d}.png")
        write_png(written[-1], film_strip(turns, names[: len(turns)], settings.orbit.strip))
    return written
