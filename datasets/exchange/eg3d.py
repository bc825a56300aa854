"""A data set as EG3D, PanoHead and SphereHead read it: crops and dataset.json, in a folder or an uncompressed zip.

Pictures are the shards' own files, byte for byte; labels are the 25 float32 numbers, each as the shortest decimal that reads
back to it. Masks go to a folder or zip beside, under the same names, as PanoHead keeps them.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from ...manifests.config import ConfigError
from ..arrays import Array
from .kept import Names, kept_samples, sink


@dataclass(frozen=True)
class Written:
    """What was written."""

    pictures: int
    side: int
    """Pixels a side."""
    masks: int = 0


def write_eg3d(folder: Path, out: Path, masks: Path | None = None, names: Names = "numbered", split: str = "") -> Written:
    """Write a data set for EG3D.

    Args:
        folder: a finished data set.
        out: new folder, or new file that ends with .zip.
        masks: likewise for masks, or None.
        names: how pictures are named.
        split: only this one, where given.

    Raises:
        ConfigError: a picture has no label or no mask, sizes differ, something lies at `out` already, or masks are to go
            to the same place, where their names are those of the pictures.
    """
    if masks is not None and masks.resolve() == out.resolve():
        raise ConfigError(f"{masks} is to hold the pictures; give the masks a folder or zip of their own")
    labels, origins, side, count = list[list[object]](), list[list[str]](), 0, 0
    with sink(out) as pictures, contextlib.nullcontext() if masks is None else sink(masks) as covers:
        for sample in kept_samples(folder, names, split):
            width, height = sample.size()
            side = side or width
            if (width, height) != (side, side):
                raise ConfigError(f"EG3D wants pictures of one size: {sample.id} is {width} x {height}, others {side} x {side}")
            if sample.label is None:
                raise ConfigError(f"EG3D wants a label of every picture, and {sample.id} has none; build with cameras")
            name = f"{sample.name}.{sample.suffix}"
            pictures.add(name, sample.image)
            labels.append([name, label_list(sample.label)])
            origins.append([name, sample.origin])
            count += 1
            if covers is not None:
                if sample.mask is None:
                    raise ConfigError(f"{sample.id} has no mask; leave masks out")
                covers.add(f"{sample.name}.png", sample.mask)
        pictures.add("dataset.json", (json.dumps({"fnames": origins, "labels": labels}) + "\n").encode())
    return Written(count, side, count if masks is not None else 0)


def label_list(label: Array) -> list[float]:
    """Return float32 numbers as Python floats whose decimals are the shortest that read back to them."""
    return [float(str(value)) for value in label]
