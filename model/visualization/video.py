"""Frames into a video that a browser plays: WebM (VP8) by OpenCV's FFmpeg, or an animated WebP where that has no encoder.

What the frames show is left to `orbit`. Equal frames give equal bytes for one version of OpenCV: the only random number in a
WebM file, the name of its track, is replaced.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ...datasets.arrays import Pixels
from ...datasets.images.listening import listener
from ...manifests.store import write_bytes

CODECS = ("VP80", "VP90")
"""What is tried in turn; VP8 takes a third of VP9's time at the same error."""
TRACK_NAME = b"\x73\xc5\x88"
"""Matroska's TrackUID (RFC 9559, 5.1.4.1.2) and its size, 8 bytes."""


def write_video(path: Path, frames: Sequence[Pixels], fps: int, codecs: Sequence[str] = CODECS) -> Path:
    """Write frames as a video that loops well, whole or not at all.

    Args:
        path: file to write; its suffix becomes .webm, or .webp where no encoder for WebM is there.
        frames: (H, W, 3) uint8 sRGB frames of one size.
        fps: frames a second.
        codecs: FourCC codes to try.

    Returns:
        The file written.

    Raises:
        ValueError: no frames, or of several sizes.
    """
    if not frames or len({frame.shape for frame in frames}) != 1:
        raise ValueError(f"expected frames of one size, got {sorted({frame.shape for frame in frames})}")
    data = webm(frames, fps, codecs)
    if data is None:
        path, data = path.with_suffix(".webp"), webp(frames, fps)
    else:
        path = path.with_suffix(".webm")
    write_bytes(path, data)
    return path


def webm(frames: Sequence[Pixels], fps: int, codecs: Sequence[str] = CODECS) -> bytes | None:
    """Encode frames as WebM; None where OpenCV has none of the encoders. Odd sides are grown by a pixel."""
    height, width = frames[0].shape[:2]
    even = (width + width % 2, height + height % 2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.webm"
        for codec in codecs:
            with listener().listen():  # OpenCV complains of a tag that the container does not need
                writer = cv2.VideoWriter(str(file), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), float(fps), even)
                opened = writer.isOpened()
            if not opened:
                continue
            for frame in frames:
                grown = np.pad(frame, ((0, even[1] - height), (0, even[0] - width), (0, 0)), mode="edge")
                writer.write(np.ascontiguousarray(grown[..., ::-1]))
            writer.release()
            return _unnamed(file.read_bytes())
    return None


def webp(frames: Sequence[Pixels], fps: int) -> bytes:
    """Encode frames as an endless animated WebP."""
    from PIL import Image

    first, *others = (Image.fromarray(frame) for frame in frames)
    stream = io.BytesIO()
    first.save(stream, "WEBP", save_all=True, append_images=others, duration=round(1000 / fps), loop=0, quality=85, method=3)
    return stream.getvalue()


def _unnamed(data: bytes) -> bytes:
    """Replace the random name of the track, wherever it stands, by a fixed one."""
    at = data.find(TRACK_NAME, 0, 4096) + len(TRACK_NAME)
    if at < len(TRACK_NAME):
        return data
    return data.replace(data[at : at + 8], bytes(7) + b"\1")
