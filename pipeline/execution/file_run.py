"""One file's way through a recipe: what the cache answers is restored, the rest is run, encoded and told.

Models are held by the `worker` that the file is with; what rows look like is `rows`' business.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...datasets import warp
from ...datasets.arrays import Pixels
from ...datasets.camera import Camera, CameraError
from ...datasets.images.decode import decode, memory_needed, probe
from ...datasets.sample import Crop, Drop, Photo, PhotoInfo, Sample, without_addresses, wording
from ...datasets.shards.codec import encode_members
from ...datasets.sources.base import Source
from ...datasets.sources.camera_sidecar import LABEL
from ...datasets.sources.sidecars import load_sidecars
from ...manifests.config import canonical_json
from ...manifests.identity import rng, sample_id
from ..stage import OpenStage
from .cache import Log
from .packing import changes, first_sample, pack, restore, unpack
from .rows import Refused, file_row, kept_row, refused_row, thumbnail
from .work import Task, WorkOrder

log = logging.getLogger(__name__)

SMALL_PHOTO = 48 << 20
"""Bytes that decoding may take without leave from the memory budget."""


class Host(Protocol):
    """What a file's way needs of the worker that it is with."""

    order: WorkOrder
    keys: tuple[str, ...]

    def stage(self, index: int) -> OpenStage:
        """Return a stage of the recipe with its models loaded."""


Outcome = tuple[str, str, str, str, list[dict[str, Any]]]
"""(outcome, reason, detail, stage, rows) of a file."""


@dataclass
class FileRun:
    """One file's way through the recipe."""

    worker: Host
    records: Log
    task: Task
    source: Source
    data: bytes
    sha256: str
    ask_memory: Callable[[int], None]
    seconds: dict[str, float]
    alive: list[Sample] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    cacheable: bool = True
    """False once something failed: failures are tried again on the next run."""
    stale: bool = False
    """True while samples restored from the cache lack the fields that are remade rather than kept."""

    def walk(self) -> Outcome:
        """Take the file through every step and return what came of it."""
        keys = self.worker.keys
        finished = self._cached(keys[-1])
        if finished is not None:
            return self._told(finished)
        try:
            self._start(keys[0])
        except Drop as drop:
            row = file_row(self.sha256, self._info_or_none(), drop, "decode")
            return drop.outcome, drop.reason, drop.detail, "decode", [] if drop.outcome == "not_image" else [row]
        for index, key in enumerate(keys[1:-1]):
            record = self._cached(key)
            if record is None:
                record = self._run(index)
                if self.cacheable:
                    self.records.append(key, pack(record))
            else:
                self._replay(index, record)
        finished = self._finish()
        if self.cacheable:
            self.records.append(keys[-1], pack(finished))
        return self._told(finished)

    def _cached(self, key: str) -> Any:
        payload = self.records.read(key) if self.cacheable else None
        return None if payload is None else unpack(payload)

    def _info_or_none(self) -> PhotoInfo | None:
        try:
            return probe(self.data, self.worker.order.recipe.decode)
        except Drop:
            return None

    def _start(self, key: str) -> None:
        """Make the photograph: from the header alone where its pixels were looked at before, else decoded."""
        policy = self.worker.order.recipe.decode
        info: PhotoInfo | None = self._cached(key)
        loaded: list[tuple[Pixels, Pixels | None]] = []
        if info is None:
            started = time.perf_counter()
            self._reserve()
            decoded = decode(self.data, policy)
            info = decoded.info
            loaded.append((decoded.pixels, decoded.alpha))
            self._spend("decode", started)
            self.records.append(key, pack(info))

        def load() -> tuple[Pixels, Pixels | None]:
            if loaded:
                return loaded.pop()
            started = time.perf_counter()
            self._reserve()
            again = decode(self.data, policy)
            self._spend("decode", started)
            return again.pixels, again.alpha

        photo = Photo(self.task.image, self.sha256, info, load)
        self.alive = [first_sample(photo, self._known(photo))]

    def _known(self, photo: Photo) -> dict[str, Any]:
        """Return what the source gives beside the pixels; the picture of a finished shard is itself the crop."""
        image = self.task.image
        if not image.sidecar:
            return {}
        size, recipe = (photo.info.width, photo.info.height), self.worker.order.recipe
        known = load_sidecars(self.source, image, size, free_k=True)
        if "id" in image.sidecar:
            if size[0] != size[1]:
                raise Drop("sidecar_mismatch", f"expected a square picture in a shard, got {size[0]} x {size[1]}")
            known.update(
                id=sample_id(self.sha256, 0),
                parent=image.sidecar["id"],
                derivation=image.sidecar.get("derivation", canonical_json({"step": "shards"})),
                head_index=0,
                head=None,
                mesh=None,
                landmarks=None,
                crop=Crop(np.eye(3), size[0], 0.0, 1.0),
                image=photo.pixels,
                padding=np.zeros((size[0], size[0]), dtype=np.uint8),
            )
            if "renderer" in image.sidecar:
                known["notes"] = {"renderer": image.sidecar["renderer"]}
            self._check_camera(known.get("camera"))
        elif "camera" in known and not recipe.free_k and any(stage.takes_labels for stage in recipe.stages):
            label = known.pop("camera").to_list()
            photo.source = dataclasses.replace(image, sidecar={**image.sidecar, LABEL: json.dumps(label)})
        return known

    def _check_camera(self, camera: Camera | None) -> None:
        """Refuse a camera that the source gave, where it does not keep the recipe's contract."""
        if camera is None:
            return
        try:
            camera.check(free_k=self.worker.order.recipe.free_k)
        except CameraError as error:
            raise Drop("camera_invalid", str(error)) from error

    def _reserve(self) -> None:
        """Ask for leave to decode the file, where it is large."""
        needed = memory_needed(self.data, self.worker.order.recipe.decode)
        if needed > SMALL_PHOTO:
            self.ask_memory(needed)

    def _spend(self, name: str, started: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def _run(self, index: int) -> dict[str, Any]:
        """Run a stage over the living samples and return its record: changes and refusals, by position."""
        stage = self.worker.order.recipe.stages[index]
        self._remake(index)
        decoding = self.seconds.get("decode", 0.0)
        started = time.perf_counter()
        alive: list[list[Any]] = []
        refused: list[list[Any]] = []
        for position, sample in enumerate(self.alive):
            try:
                for out in self._through(index, sample):
                    alive.append([position, out])
            except Drop as drop:
                refused.append([position, drop])
        spent = time.perf_counter() - started - (self.seconds.get("decode", 0.0) - decoding)
        self.seconds[stage.name] = self.seconds.get(stage.name, 0.0) + spent
        before = self.alive
        self.alive = [sample for _, sample in alive]
        self.refused += [Refused.by(before[position], stage.name, drop) for position, drop in refused]
        self.cacheable = self.cacheable and not any(drop.outcome == "failed" for _, drop in refused)
        return {
            "alive": [[position, changes(before[position], sample, stage.remade)] for position, sample in alive],
            "refused": [[position, drop.reason, drop.detail, drop.value] for position, drop in refused],
        }

    def _through(self, index: int, sample: Sample) -> list[Sample]:
        """Run a stage on one sample; what the source gave exactly is not estimated again."""
        stage = self.worker.order.recipe.stages[index]
        if stage.gives and sample.known.issuperset(stage.gives):
            return [sample]
        order = self.worker.order
        try:
            opened = self.worker.stage(index)
            out = list(opened.one(sample, rng(order.recipe.seed, sample.id or self.sha256, stage.name)))
        except (Drop, KeyboardInterrupt, SystemExit):
            raise
        except MemoryError as error:
            raise Drop("out_of_memory", f"in stage {stage.name}: {wording(error)}") from error
        except Exception as error:
            log.warning("stage %s failed on %s", stage.name, self.task.image.path, exc_info=True)
            raise Drop("stage_error", _where(error)) from error
        carried = [carry_known(sample, made) for made in out if made.id not in order.forgotten]
        for made in carried:
            if "camera" in made.known and made.crop is not None and sample.crop is None:
                self._check_camera(made.camera)
        return carried

    def _replay(self, index: int, record: Mapping[str, Any]) -> None:
        """Do to the living samples what a cached record says a stage did."""
        stage = self.worker.order.recipe.stages[index]
        before = self.alive
        self.alive = [restore(before[position], changed) for position, changed in record["alive"]]
        for position, reason, detail, value in record["refused"]:
            self.refused.append(Refused.by(before[position], stage.name, Drop(reason, detail, value)))
        self.stale = self.stale or bool(stage.remade)

    def _remake(self, upto: int) -> None:
        """Fill the fields that earlier stages make again rather than keep, once a later stage really runs."""
        if not self.stale:
            return
        for stage in self.worker.order.recipe.stages[:upto]:
            if stage.remade:
                self.alive = [stage.remake(sample) for sample in self.alive]
        self.stale = False

    def _finish(self) -> dict[str, Any]:
        """Encode the living samples and write every row."""
        self._remake(len(self.worker.order.recipe.stages))
        started = time.perf_counter()
        rows: list[dict[str, Any]] = []
        members: dict[str, dict[str, bytes]] = {}
        for sample in self.alive:
            members[sample.id] = encode_members(sample, self.worker.order.recipe.encoding)
            rows.append(kept_row(sample, members[sample.id]))
        self._spend("encode", started)
        rows += [refused_row(refused) for refused in self.refused]
        thumbs = {
            row["id"]: thumbnail(refused.sample) for row, refused in zip(rows[len(self.alive) :], self.refused, strict=True)
        }
        return {"rows": json.dumps(rows), "members": members, "thumbs": thumbs}

    def _told(self, finished: Mapping[str, Any]) -> Outcome:
        """Return the file's outcome: kept where any head is, else the first refusal, a failure before a drop."""
        rows: list[dict[str, Any]] = json.loads(finished["rows"])
        if any(row["status"] == "kept" for row in rows):
            return "kept", "", "", "", rows
        first = min(rows, key=lambda row: (row["status"] != "failed", row["head_index"]), default=None)
        if first is None:
            reason = "forgotten" if self.worker.order.forgotten else "no_head"
            return "dropped", reason, "no stage returned a sample", "", rows
        return first["status"], first["reason"], first["detail"], first["stage"], rows


def carry_known(before: Sample, after: Sample) -> Sample:
    """Take what the source gave for the whole photograph along when a stage cuts the crop out of it."""
    if before.crop is not None or after.crop is None or not after.known:
        return after
    size, matrix, changed = after.crop.size, after.crop.matrix, dict[str, Any]()
    if "mask" in after.known and after.mask is not None:
        changed["mask"] = warp.warp(after.mask, matrix, size, border="black")
    if "parsing" in after.known and after.parsing is not None:
        changed["parsing"] = warp.warp(after.parsing, matrix, size, border="black", nearest=True)
    if "camera" in after.known and after.camera is not None:
        info = after.photo.info
        normalised = np.diag([1 / size, 1 / size, 1.0]) @ matrix @ np.diag([info.width, info.height, 1.0])
        changed["camera"] = after.camera.warped(normalised)
    return after.with_(**changed)


def _where(error: Exception) -> str:
    """Say what went wrong and where in the code, without paths of this machine."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {without_addresses(str(error)[:300])}{place}"
