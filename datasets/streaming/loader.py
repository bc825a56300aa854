"""Stream data sets into training: micro-batch number q is the same whoever asks for it, whenever, and wherever the shards lie.

The position in a run is q alone, so that nothing of the stream needs saving. Which samples q holds is left to `order`,
pixels to `batch`, bytes to `storage`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..arrays import Array
from ..labels import mirrored_labels
from ..shards.storage import DataError, Source, open_source
from .batch import Batch, Places, Shape, batch_in, empty_memory, fill, members_of
from .first_samples import look_at_sets
from .index import Rows, read_rows
from .order import Mirror, Order, Place, cut_pieces
from .slots import Sent, Slots
from .window import Window, WindowReader

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batch", "DataError", "ShardStream", "StreamSettings", "open_loader"]


_GRACE = 30
"""Seconds that a worker lives on after SIGTERM."""
_GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that terminals and schedulers send to the whole process group."""
_HELD = 3
"""Batches of each worker that the trainer may hold while the worker fills memory that was used before."""


@dataclass(frozen=True)
class StreamSettings:
    """What decides, with the sets, every sample of a run."""

    batch: int = 8
    """Samples a micro-batch."""
    resolution: int = 64
    """Side of the pictures in pixels; larger ones are brought to it by averaging whole blocks."""
    seed: int = 0
    """Decides the order and which samples are mirrored."""
    split: str = "train"
    """Which part of the sets."""
    balance: bool = True
    """Show samples as often as the manifest's weights say, which even out the views."""
    synthetic_weight: float = 1.0
    """Further weight of rendered heads; 0 leaves them out."""
    mirror: Mirror = "random"
    """off, random (a coin for each sample and epoch), or both (every sample plain and mirrored in each epoch)."""
    lanes: int = 32
    """Parts of the set that are read side by side, at most; a multiple of ranks times workers reads every byte once."""
    window: int = 8
    """Pieces of a lane that are mixed at once; their encoded bytes are kept in memory."""
    piece: int = 16
    """Neighbours of one shard that are read in one go, at most."""
    need_mask: bool = False
    """Refuse sets without masks."""
    need_parsing: bool = False
    """Refuse sets without class maps."""
    read_mask: bool = True
    """Decode masks where there are any; False saves their time."""
    read_parsing: bool = True
    """Decode class maps where there are any."""
    read_depth: bool = False
    """Decode depth maps; samples without one have 0 everywhere."""

    def __post_init__(self) -> None:
        low = [name for name in ("batch", "resolution", "lanes", "window", "piece") if getattr(self, name) < 1]
        if low:
            raise ValueError(f"expected {low[0]} of 1 or more, got {getattr(self, low[0])}")
        if not 0.0 <= self.synthetic_weight <= 100.0:
            raise ValueError(f"expected a synthetic_weight of 0 to 100, got {self.synthetic_weight}")
        if (self.need_mask and not self.read_mask) or (self.need_parsing and not self.read_parsing):
            raise ValueError("need_mask and need_parsing go with read_mask and read_parsing; set both or neither")


class ShardStream:
    """Micro-batches of one or several data sets by number."""

    def __init__(self, places: Sequence[str | os.PathLike[str]] | str | os.PathLike[str], settings: StreamSettings) -> None:
        """Read and check the manifests.

        Args:
            places: folders or URLs of finished sets, or one of them.
            settings: see there.

        Raises:
            DataError: a set cannot be streamed as asked.
        """
        self.settings = settings
        listed = (places,) if isinstance(places, str | os.PathLike) else places
        self._sources: tuple[Source, ...] = tuple(map(open_source, listed))
        self._rows = read_rows(self._sources, settings.split)
        self._order = _order(self._rows, settings)
        self._reader = WindowReader(self._sources, self._rows, self._order)
        self.has_mask, self.has_parsing = look_at_sets(self._sources, self._rows, settings)

    @property
    def num_samples(self) -> int:
        """Samples that are shown: rows of the split with a weight above 0."""
        return self._order.num_shown

    @property
    def epoch_batches(self) -> int:
        """Micro-batches in an epoch."""
        return self._order.epoch_batches

    @property
    def lanes(self) -> int:
        """Lanes in use: fewer than asked for where the set is small."""
        return self._order.lanes

    @property
    def cameras(self) -> Array:
        """(N, 25) float32 labels of all samples of the split, as they lie in the manifest."""
        return self._rows.camera

    @property
    def known_subjects(self) -> Array:
        """(P,) int64 numbers of the rendered persons of the split that have two views or more, ascending."""
        numbers, counts = np.unique(self._rows.subject[self._rows.synthetic], return_counts=True)
        return np.asarray(numbers[counts > 1], dtype=np.int64)

    @property
    def manifests(self) -> tuple[str, ...]:
        """sha256 of each set's manifest: with the settings, all that decides the stream."""
        return self._rows.manifests

    def place(self, number: int) -> Place:
        """Return epoch, lane and window of a micro-batch, without reading anything."""
        return self._order.place(number)

    @property
    def shape(self) -> Shape:
        """What a micro-batch holds."""
        return Shape(self.settings.batch, self.settings.resolution, self.has_mask, self.has_parsing, self.settings.read_depth)

    def __getitem__(self, number: int) -> Batch:
        """Return micro-batch `number`, in memory of its own."""
        return self.make(number, empty_memory(self.shape))

    def make(self, number: int, memory: Tensor) -> Batch:
        """Return micro-batch `number`: the same for whoever asks.

        Args:
            number: 0 and up.
            memory: (n,) uint8 in which the batch is to lie, as many bytes as its shape has.

        Raises:
            IndexError: a negative number.
            DataError: the shards cannot be read, or no sample of a window can be used.
        """
        place = self._order.place(number)
        window = self._reader.window(place)
        settings, rows = self.settings, self._rows
        batch = batch_in(memory, self.shape, (), number, ())
        image = batch.image.numpy()
        maps = [None if part is None else part.numpy() for part in (batch.mask, batch.parsing, batch.depth)]
        chosen: list[int] = []
        skipped: list[str] = []
        for slot in range(settings.batch):
            into = Places(image[slot], *(None if part is None else part[slot] for part in maps))
            chosen.append(self._fill(window, place.first + slot, into, skipped))
        picked, mirrored = window.rows[chosen], window.mirrored[chosen]
        labels = rows.camera[picked]
        batch.camera.numpy()[...] = np.where(mirrored[:, None], mirrored_labels(labels), labels)
        batch.subject.numpy()[...] = rows.subject[picked]
        batch.synthetic.numpy()[...] = rows.synthetic[picked]
        batch.mirrored.numpy()[...] = mirrored
        ids = tuple(key.decode() for key in rows.ids[picked].tolist())
        return dataclasses.replace(batch, ids=ids, skipped=tuple(skipped))

    def _fill(self, window: Window, position: int, into: Places, skipped: list[str]) -> int:
        """Decode the sample at a position of the window, or the first good one that stands in for it; return its position."""
        count, rows = len(window.rows), self._rows
        for candidate in (position, *((position + count // 2 + k) % count for k in range(count))):
            row = int(window.rows[candidate])
            key = rows.ids[row].decode()
            try:
                members = members_of(self._reader.sample(window, row), key)
                fill(members, int(rows.digest[row]), bool(window.mirrored[candidate]), into)
                return candidate
            except (ValueError, cv2.error) as error:
                reason = f"{key}: {error}"
                if reason not in skipped:
                    skipped.append(reason)
        raise DataError(
            f"none of {count} samples of one window can be used, the last: {skipped[-1]}; "
            f"prove the set with spherehead shards verify: {', '.join(source.place for source in self._sources)}"
        )


def _order(rows: Rows, settings: StreamSettings) -> Order:
    """Return the order of a stream; lanes and pieces shrink with small sets, so that every lane still mixes several pieces."""
    weights = rows.weight if settings.balance else np.ones(len(rows.ids))
    weights = np.where(rows.synthetic, weights * settings.synthetic_weight, weights)
    shown = int((weights > 0).sum())
    if shown < settings.batch:
        raise DataError(
            f"split {settings.split!r} has {shown} samples to show, fewer than one micro-batch of {settings.batch}; "
            "make the micro-batch smaller or build more"
        )
    lanes = settings.lanes
    while lanes > 1 and lanes * settings.batch > shown:
        lanes //= 2
    piece = max(1, min(settings.piece, shown // (lanes * settings.window)))
    starts = cut_pieces(rows.shard, piece)
    return Order(starts, weights, settings.batch, lanes, settings.window * piece, settings.seed, settings.mirror)


class _Numbered:
    """A stream as torch's DataLoader wants it; what goes wrong in a worker comes back as it is, without its traceback."""

    def __init__(self, stream: ShardStream, slots: Slots, limit: int) -> None:
        self._stream, self._slots, self._limit = stream, slots, limit

    def __getitem__(self, number: int) -> Batch | Sent | Exception:
        from torch.utils.data import get_worker_info

        info = get_worker_info()
        assert info is not None  # torch asks in its workers only
        worker = info.id
        signal.alarm(self._limit)  # SIGALRM ends a worker that is stuck, and the trainer hears of its death
        slot = self._slots.take(worker)
        try:
            if slot is None:  # the trainer keeps more batches than there are slots
                return self._stream[number]
            batch = self._stream.make(number, self._slots.memory(worker, slot))
            return self._slots.sent(worker, slot, batch_in, self._stream.shape, batch.ids, batch.number, batch.skipped)
        except (DataError, ImportError, IndexError) as error:
            if slot is not None:
                self._slots.give_back(worker, slot)
            return error
        finally:
            signal.alarm(0)


def _start_worker(_: int) -> None:
    """Make a worker use one thread: there is one for each core, and results must not depend on their number."""
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C and SIGTERM to the whole group are the trainer's to answer:
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE))  # it may still want batches while it stops
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _GROUP_SIGNALS)
    trainer = multiprocessing.parent_process()
    if trainer is not None:  # torch watches the fork server instead, which outlives a killed trainer
        threading.Thread(target=_end_after, args=(trainer,), daemon=True).start()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let processes that are started in the block begin with signals to the group blocked: `_start_worker` handles them first.

    The fork server keeps the mask: it ends with the trainer, and its workers inherit the mask.
    """
    resource_tracker.ensure_running()  # started later, it would unblock them here
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end_after(trainer: BaseProcess) -> None:
    """End this process as soon as the trainer is gone, however it went."""
    trainer.join()
    os._exit(1)


def open_loader(
    stream: ShardStream,
    numbers: Iterable[int],
    workers: int,
    *,
    ahead: int = 2,
    timeout: float = 300.0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Start to make the micro-batches of `numbers` in worker processes, and return them one by one.

    Args:
        stream: where they come from.
        numbers: which, in which order; may be endless.
        workers: processes; 0 makes batches in this one, when they are asked for.
        ahead: batches that each worker prepares in advance.
        timeout: seconds that a worker may take for one batch before it is ended.
        pin_memory: move batches to page-locked memory, for copies to a GPU.

    Raises:
        DataError: the stream's own errors; a worker that died, found within some seconds; one that was stuck for `timeout`.
    """
    if not workers:
        return (batch.pin_memory() if pin_memory else batch for batch in map(stream.__getitem__, numbers))
    from torch.utils.data import DataLoader

    context = multiprocessing.get_context("forkserver")
    # its server imports torch and compiles once for all workers, and never saw this process's threads or GPU
    context.set_forkserver_preload([__name__, DataLoader.__module__, f"{__package__}.preload"])
    slots = Slots(workers, ahead + _HELD, stream.shape.num_bytes)
    loader: Any = DataLoader(
        _Numbered(stream, slots, max(1, math.ceil(timeout))),  # type: ignore[arg-type]
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        worker_init_fn=_start_worker,
        multiprocessing_context=context,
        prefetch_factor=ahead,
        pin_memory=pin_memory,
    )
    with _signals_held():
        batches = iter(loader)
    return _received(batches, timeout)


def _received(batches: Iterator[Batch | Exception], timeout: float) -> Iterator[Batch]:
    """Yield what workers made, and raise what went wrong in them."""
    while True:
        try:
            batch = next(batches, None)
        except (RuntimeError, OSError, EOFError) as error:
            if (isinstance(error, RuntimeError) and not str(error).startswith("DataLoader")) or str(error).startswith("Caught"):
                raise  # a mistake in the code, told with the worker's traceback
            raise DataError(
                f"a data worker died: {error}. It was killed, ran out of memory (try fewer workers), or was stuck in one batch "
                f"for {timeout:g} s"
            ) from error
        if batch is None:
            return
        if isinstance(batch, Exception):
            raise batch
        yield batch
