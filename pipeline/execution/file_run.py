"""One file's way through a recipe: what the cache answers is restored, the rest is run, encoded and told.

Models are held by the `worker` that the file is with; what rows look like is `rows`' business.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import struct
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...datasets import warp
from ...datasets.camera import Camera, CameraError
from ...datasets.depth import warp_depth
from ...datasets.images.decode import probe
from ...datasets.sample import Crop, Drop, Photo, PhotoInfo, Sample, without_addresses, wording
from ...datasets.shards.codec import encode_members
from ...datasets.sources.base import Source
from ...datasets.sources.camera_sidecar import LABEL
from ...datasets.sources.sidecars import load_sidecars
from ...manifests.config import canonical_json
from ...manifests.identity import rng, sample_id
from ..stage import OpenStage, StageUnavailable
from .decoding import Decoding, spend
from .packing import changes, first_sample, pack, restore, unpack
from .placement import gives_label_away, is_skipped
from .rows import Refused, file_row, kept_row, refused_row, thumbnail
from .work import Task, Thumb, WorkOrder, refusing

log = logging.getLogger(__name__)

_ARRAYS = ("image", "padding", "mask", "parsing", "beard", "depth", "mesh", "landmarks")


class Host(Protocol):
    """What a file's way needs of the worker that it is with."""

    order: WorkOrder
    keys: tuple[str, ...]

    def stage(self, index: int, device: str) -> OpenStage:
        """Return a stage of the recipe with its models loaded."""


Outcome = tuple[str, str, str, str, list[dict[str, Any]]]
"""(outcome, reason, detail, stage, rows) of a file."""


@dataclass
class FileRun:
    """One file's way through the recipe."""

    worker: Host
    known: Mapping[str, bytes]
    """Records that earlier runs kept, by cache key."""
    task: Task
    source: Source
    data: bytes
    sha256: str
    ask_memory: Callable[[int], None]
    seconds: dict[str, float]
    alive: list[Sample] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    made: dict[str, bytes] = field(default_factory=dict)
    """Records of the stages that ran, by cache key."""
    packed: bytes | None = None
    """Members of the kept heads, packed; None where there are none."""
    thumbs: list[Thumb] = field(default_factory=list)
    """Small pictures of what was refused in this run."""
    cacheable: bool = True
    """False once something failed: what follows a failure is not kept, so that it is tried again."""
    whole: list[Sample] = field(default_factory=list)
    """The living samples as they were before `replayed`, with every field."""
    replayed: list[tuple[int, list[Any]]] = field(default_factory=list)
    """(stage, living part of its record) of stages that were answered by the cache since `whole`; `alive` lacks what they
    remake."""

    def walk(self) -> Outcome:
        """Take the file through every step and return what came of it."""
        keys = self.worker.keys
        try:
            with refusing("decoding"):
                self._start(keys[0])
        except Drop as drop:
            row = file_row(self.sha256, self._info_or_none(), drop, "decode")
            return drop.outcome, drop.reason, drop.detail, "decode", [] if drop.outcome == "not_image" else [row]
        for index, key in enumerate(keys[1:-1]):
            record = self._cached(key)
            if record is None:
                record = self._run(index, key)
                if self.cacheable:
                    self.made[key] = pack(record)
            else:
                self._replay(index, record)
        return outcome_of(self._finish(), self.worker.order)

    def _cached(self, key: str) -> Any:
        """Return a record, or None where it is absent or does not unpack."""
        record = self.known.get(key) if self.cacheable else None
        try:
            return None if record is None else unpack(record)
        except (ValueError, KeyError, TypeError, struct.error):
            log.warning("a record of %s in the stage cache does not unpack; it is made again", self.task.image.path)
            return None

    def _info_or_none(self) -> PhotoInfo | None:
        try:
            return probe(self.data, self.worker.order.recipe.decode)
        except Drop:
            return None

    def _start(self, key: str) -> None:
        """Make the photograph: from the header alone where its pixels were looked at before, else decoded."""
        policy = self.worker.order.recipe.decode
        info: PhotoInfo | None = self._cached(key)
        load = Decoding(self.data, policy, self.ask_memory, self.seconds)
        if info is None:
            info = load.ahead()
            self.made[key] = pack(info)

        photo = Photo(self.task.image, self.sha256, info, load)
        self.alive = self.whole = [frozen(first_sample(photo, self._known(photo)))]

    def _known(self, photo: Photo) -> dict[str, Any]:
        """Return what the source gives beside the pixels; the picture of a finished shard is itself the crop."""
        image = self.task.image
        if not image.sidecar:
            return {}
        size, recipe = (photo.info.width, photo.info.height), self.worker.order.recipe
        known = load_sidecars(self.source, image, size, free_k=True)
        if image.is_cropped:
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
        elif "camera" in known and gives_label_away(image, recipe):
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

    def _run(self, index: int, key: str) -> dict[str, Any]:
        """Run a stage over the living samples and return its record: changes and refusals, by position."""
        stage = self.worker.order.recipe.stages[index]
        self._rebuild()
        decoding = self.seconds.get("decode", 0.0)
        started = time.perf_counter()
        before, self.alive = self.alive, []
        alive: list[list[Any]] = []
        refused: list[list[Any]] = []
        for position, sample in enumerate(before):
            try:
                for out in self._through(index, sample):
                    self.alive.append(out)
                    remade = [name for name in stage.remade if getattr(out, name) is not getattr(sample, name)]
                    alive.append([position, changes(sample, out, stage.remade), remade])
            except Drop as drop:
                refused.append([position, drop.reason, drop.detail, drop.value])
                self._refuse(Refused.by(sample, stage.name, drop), key)
                self.cacheable = self.cacheable and drop.outcome != "failed"
        spent = time.perf_counter() - started - (self.seconds.get("decode", 0.0) - decoding)
        self.seconds[stage.name] = self.seconds.get(stage.name, 0.0) + spent
        self.whole = self.alive
        return {"alive": alive, "refused": refused}

    def _refuse(self, refused: Refused, key: str) -> None:
        """Note a refusal of this run with its small picture: of the crop, else of the photograph."""
        self.refused.append(refused)
        picture = b""
        with contextlib.suppress(Drop):
            picture = thumbnail(refused.sample)
        self.thumbs.append(Thumb(refused.id, refused.reason, key, picture))

    def _through(self, index: int, sample: Sample) -> list[Sample]:
        """Run a stage on one sample; what the source gave exactly is not estimated again."""
        stage = self.worker.order.recipe.stages[index]
        if is_skipped(stage, sample.known):
            return [sample]
        order = self.worker.order
        try:
            opened = self.worker.stage(index, order.device_of(self.task))
            out = list(opened.one(sample, rng(order.recipe.seed, sample.id or self.sha256, stage.name)))
        except (Drop, StageUnavailable, KeyboardInterrupt, SystemExit):
            raise
        except MemoryError as error:
            raise Drop("out_of_memory", f"in stage {stage.name}: {wording(error)}") from error
        except Exception as error:
            log.warning("stage %s failed on %s", stage.name, self.task.image.path, exc_info=True)
            raise Drop("stage_error", _where(error)) from error
        for made in out:
            if made.photo is not sample.photo:
                raise Drop("stage_error", f"stage {stage.name} replaced `photo`, which the cache does not keep; change `image`")
        carried = [frozen(carry_known(sample, made)) for made in out if made.id not in order.forgotten]
        for made in carried:
            if "camera" in made.known and made.crop is not None and sample.crop is None:
                self._check_camera(made.camera)
        return carried

    def _replay(self, index: int, record: Mapping[str, Any]) -> None:
        """Do to the living samples what a cached record says a stage did, but for the fields that it remakes."""
        stage = self.worker.order.recipe.stages[index]
        before = self.alive
        self.alive = [restore(before[position], changed) for position, changed, *_ in record["alive"]]
        self.replayed.append((index, record["alive"]))
        for position, reason, detail, value in record["refused"]:
            self.refused.append(Refused.by(before[position], stage.name, Drop(reason, detail, value)))

    def _rebuild(self) -> None:
        """Give the living samples every field, once a later stage really runs: stage by stage, as each left them.

        A stage that remakes a field does so on the sample as it was right behind that stage, so that what later stages
        changed is neither seen by it nor undone.
        """
        samples = self.whole
        for index, alive in self.replayed:
            stage, before = self.worker.order.recipe.stages[index], samples
            samples = []
            for position, changed, *remade in alive:
                sample = restore(before[position], changed)
                if stage.remade and (not remade or remade[0]):
                    sample = stage.remake(sample)
                samples.append(frozen(sample))
        self.alive = self.whole = samples
        self.replayed = []

    def _finish(self) -> list[dict[str, Any]]:
        """Encode the living samples and return every row."""
        if self.alive:
            self._rebuild()
        started = time.perf_counter()
        members = {sample.id: encode_members(sample, self.worker.order.recipe.encoding) for sample in self.alive}
        rows = [kept_row(sample, members[sample.id]) for sample in self.alive]
        spend(self.seconds, "encode", started)
        if members:
            self.packed = pack(members)
        return rows + [refused_row(refused) for refused in self.refused]


def outcome_of(rows: list[dict[str, Any]], order: WorkOrder) -> Outcome:
    """Return a file's outcome: kept where any head is, else the first refusal, a failure before a drop."""
    if any(row["status"] == "kept" for row in rows):
        return "kept", "", "", "", rows
    first = min(rows, key=lambda row: (row["status"] != "failed", row["head_index"]), default=None)
    if first is None:
        return "dropped", "forgotten" if order.forgotten else "no_head", "no stage returned a sample", "", rows
    return first["status"], first["reason"], first["detail"], first["stage"], rows


def frozen(sample: Sample) -> Sample:
    """Make a sample's arrays read-only: a stage that changed one in place would not be seen by the cache."""
    for name in _ARRAYS:
        array = getattr(sample, name)
        if array is not None and array.flags.writeable:
            array.flags.writeable = False
    return sample


def carry_known(before: Sample, after: Sample) -> Sample:
    """Take what the source gave for the whole photograph along when a stage cuts the crop out of it."""
    if before.crop is not None or after.crop is None or not after.known:
        return after
    info = after.photo.info
    if (info.width, info.height) == (after.crop.size,) * 2 and np.array_equal(after.crop.matrix, np.eye(3)):
        return after  # untouched, to the last bit of its label
    size, matrix, changed = after.crop.size, after.crop.matrix, dict[str, Any]()
    if "mask" in after.known and after.mask is not None:
        changed["mask"] = warp.warp(after.mask, matrix, size, border="black")
    if "parsing" in after.known and after.parsing is not None:
        changed["parsing"] = warp.warp(after.parsing, matrix, size, border="black", nearest=True)
    if "camera" in after.known and after.camera is not None:
        normalised = np.diag([1 / size, 1 / size, 1.0]) @ matrix @ np.diag([info.width, info.height, 1.0])
        changed["camera"] = after.camera.warped(normalised)
        if "depth" in after.known and after.depth is not None:
            changed["depth"] = warp_depth(after.depth, matrix, size, after.camera, changed["camera"])
    return after.with_(**changed)


def _where(error: Exception) -> str:
    """Say what went wrong and where in the code, without paths of this machine."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {without_addresses(str(error)[:300])}{place}"
