"""Slots: a piece of shared memory is written again only when nothing in the trainer refers to it."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
from pathlib import Path
from types import ModuleType

import pytest
import torch
from spherehead.datasets.shards.storage import DataError
from spherehead.datasets.streaming import slots as slots_module
from spherehead.datasets.streaming.loader import ShardStream, StreamSettings, open_loader
from spherehead.datasets.streaming.slots import Slots, require_shared_memory

SETTINGS = StreamSettings(batch=4, resolution=16, lanes=4, window=2, piece=2, seed=11)


def handed(memory: torch.Tensor, number: int) -> tuple[torch.Tensor, int]:
    return memory, number


def test_a_slot_is_free_when_the_last_tensor_on_it_is_gone() -> None:
    slots = Slots(2, 2, 12)
    assert [slots.take(1) for _ in range(3)] == [0, 1, None]
    assert slots.take(0) == 0
    slots.memory(1, 1).fill_(7)
    memory, number = pickle.loads(pickle.dumps(slots.sent(1, 1, handed, 5)))
    assert number == 5 and memory.tolist() == [7] * 12
    part = memory[4:8].view(torch.int32)
    del memory
    gc.collect()
    assert slots.take(1) is None and part.tolist() == [0x07070707]  # a view keeps it
    del part
    gc.collect()
    assert slots.take(1) == 1 and slots.take(1) is None
    slots.give_back(1, 0)
    assert slots.take(1) == 0


def test_slots_do_not_overlap() -> None:
    slots = Slots(2, 3, 10)
    for value, (worker, slot) in enumerate(itertools.product(range(2), range(3))):
        slots.memory(worker, slot).fill_(value)
    assert [slots.lent(*place).tolist() for place in itertools.product(range(2), range(3))] == [[k] * 10 for k in range(6)]


def test_a_trainer_that_keeps_every_batch_keeps_its_pixels(stream_set: Path, streams: ModuleType) -> None:
    stream = ShardStream([stream_set], SETTINGS)
    kept = list(open_loader(stream, range(24), 1, ahead=2))  # many more than there are slots
    assert [streams.digest(batch) for batch in kept] == [streams.digest(stream[number]) for number in range(24)]


def test_parts_of_batches_outlive_their_batches(stream_set: Path) -> None:
    stream = ShardStream([stream_set], SETTINGS)
    images = [batch.image[1:3] for batch in open_loader(stream, range(24), 2, ahead=1)]
    assert all(torch.equal(found, stream[number].image[1:3]) for number, found in enumerate(images))


def test_a_run_goes_through_the_same_few_slots(stream_set: Path) -> None:
    stream = ShardStream([stream_set], SETTINGS)
    places = set()
    for batch in open_loader(stream, range(60), 1, ahead=2):
        places.add(batch.image.data_ptr())
    assert 2 <= len(places) <= 5


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_can_be_written(stream_set: Path, workers: int) -> None:
    batch = next(open_loader(ShardStream([stream_set], SETTINGS), range(3), workers))
    batch.image.zero_()
    assert int(batch.image.sum()) == 0


def test_too_little_shared_memory_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(tmp_path)
    small = os.statvfs_result((4096, 4096, 16, 16, 16, *found[5:]))  # 64 KiB
    monkeypatch.setattr(slots_module.os, "statvfs", lambda _: small)
    require_shared_memory(16 * 4096)
    with pytest.raises(
        DataError, match=r"/dev/shm has 0 MiB free, the data workers need 1 MiB; use fewer --workers .*--shm-size"
    ):
        require_shared_memory(1 << 20)


def test_absent_shared_memory_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: int) -> None:
        raise RuntimeError("unable to open shared memory object </torch_1> in read-write mode: No such file or directory (2)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", absent)
    with pytest.raises(DataError, match=r"cannot share .*No such file.*make sure that /dev/shm is there .*--workers 0"):
        Slots(1, 1, 1 << 20)
