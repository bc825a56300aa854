"""An inverted head on disk: style vectors, refined cameras, what tuning added to the weights, and a record of it all.

How a head is found is left to `search` and `tuning`, which files else a user is shown to `export.invert`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...manifests.config import ConfigError, from_plain
from ..generator import Generator
from ..store import GENERATOR, ModelStoreError, PartEntry, load_generator, read_config, read_tensors, write_part
from .objective import ObjectiveSettings
from .search import SearchSettings, Start
from .tuning import TuningSettings, with_changes

RECORD, HEAD, TUNED = "inversion.json", "head", "tuned"
"""The record; style vectors and cameras; what was added to the weights."""
FORMAT = 1


@dataclass(frozen=True)
class InversionSettings:
    """How a head is found."""

    search: SearchSettings = SearchSettings()
    """First stage: style and cameras."""
    tuning: TuningSettings = TuningSettings()
    """Second stage: the generator's weights."""
    objective: ObjectiveSettings = ObjectiveSettings()
    """What both minimise."""


@dataclass(frozen=True)
class PhotographResult:
    """What came of one photograph."""

    id: str
    name: str
    """Name of its file."""
    moved_degrees: float
    """Angle between the estimated and the refined camera."""
    shift_percent: float
    """How far the crop was moved, in hundredths of its side."""
    zoom_percent: float
    """How much it was enlarged."""
    psnr_search: float
    """dB inside the matte, after the first stage."""
    psnr: float
    """dB inside the matte, at the end."""
    mask_iou: float
    """IoU of the rendered mask and the matte at the end."""
    suspect: tuple[str, ...] = ()
    """What of crop, camera, matte or model may be wrong, in words."""
    identity: float | None = None
    """Distance of the found face from the photograph's (`nets.face_recognition`), where it shows one."""


@dataclass(frozen=True)
class Drift:
    """How far tuning moved what no photograph shows, over cameras all around."""

    mask_iou: float
    """IoU of masks before and after."""
    depth: float
    """Mean absolute difference of depths inside the head, in world units."""
    psnr: float
    """dB between pictures before and after, inside the head."""


@dataclass(frozen=True)
class InversionRecord:
    """What inversion.json holds."""

    format: int
    model: str
    """Name of the model's folder."""
    sha256: str
    """Digest of the generator's file, to which the tuned weights are added."""
    fingerprint: str
    """Of model, photographs and settings: equal ones give equal heads."""
    settings: InversionSettings
    perceptual: bool
    """Whether the perceptual term was there."""
    identity: str
    """Why identities were not compared, or how, in words."""
    method: str = "optimise"
    """optimise or encode."""
    parts: dict[str, PartEntry] = field(default_factory=dict)
    """Files by part; none until the head is whole."""
    photographs: tuple[PhotographResult, ...] = ()
    starts: tuple[Start, ...] = ()
    """Directions that uncertain cameras were tried from."""
    drift: Drift | None = None
    files: tuple[str, ...] = ()
    """What else was written, in order."""


@dataclass(frozen=True, eq=False)
class InvertedHead:
    """A head that was found, with the generator that shows it."""

    generator: Generator
    """Tuned, where it was."""
    ws: Tensor
    """(B, num_ws, w_dim) style vectors: one head, the grounds of B photographs."""
    cameras: Tensor
    """(B, 25) refined labels."""
    record: InversionRecord


def write_parts(
    out: Path, ws: Tensor, coordinates: Tensor, cameras: Tensor, estimated: Tensor, changes: dict[str, Tensor]
) -> dict[str, PartEntry]:
    """Write style vectors, cameras and changes of weights; return their entries.

    Args:
        out: the head's folder.
        ws: (B, num_ws, w_dim) style vectors.
        coordinates: (K,) coordinates of the head in the generator's Gaussian.
        cameras: (B, 25) refined labels.
        estimated: (B, 25) labels before.
        changes: what `Tuning.changes` returned; empty where nothing was tuned.
    """
    tensors = {"ws": ws, "coordinates": coordinates, "cameras": cameras, "estimated_cameras": estimated}
    parts = {HEAD: write_part(out, HEAD, tensors)}
    return parts | ({TUNED: write_part(out, TUNED, changes)} if changes else {})


def read_inversion(out: Path) -> InversionRecord | None:
    """Return the record of a folder; None where there is none.

    Raises:
        ModelStoreError: it is damaged or of another version.
    """
    path = out / RECORD
    if not path.is_file():
        return None
    try:
        record = from_plain(InversionRecord, json.loads(path.read_bytes()), str(path))
    except (ConfigError, ValueError, RecursionError) as error:
        raise ModelStoreError(f"{path} is damaged or of another version: {error}") from error
    if record.format != FORMAT:
        raise ModelStoreError(f"expected an inversion of format {FORMAT} in {path}, got {record.format}")
    return record


def load_inverted(out: Path, folder: Path, device: str = "cpu") -> InvertedHead:
    """Load an inverted head and the generator that shows it.

    Args:
        out: folder of the inversion.
        folder: the model's folder.
        device: where the generator shall be.

    Raises:
        ModelStoreError: there is no finished inversion, it is damaged, or the model is another one.
    """
    record = read_inversion(out)
    if record is None or HEAD not in record.parts:
        raise ModelStoreError(f"no finished inversion in {out}; rerun the command `invert` that began it")
    found = read_config(folder).parts[GENERATOR].sha256
    if found != record.sha256:
        raise ModelStoreError(f"{out} was made with {record.model}, sha256 {record.sha256}; {folder} has {found}")
    generator = load_generator(folder)
    if TUNED in record.parts:
        generator = with_changes(generator, read_tensors(out / record.parts[TUNED].file))
    head = read_tensors(out / record.parts[HEAD].file)
    place = torch.device(device)
    return InvertedHead(generator.to(place), head["ws"].to(place), head["cameras"].to(place), record)
