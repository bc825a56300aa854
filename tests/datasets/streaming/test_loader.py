"""Streams against the shards they read: a batch follows from its number, holds what lies there, and bad sets are refused."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from spherehead.datasets.classes import mirror_parsing
from spherehead.datasets.shards import inspect
from spherehead.datasets.shards.codec import Decoded
from spherehead.datasets.shards.storage import LocalSource
from spherehead.datasets.streaming.index import subject_number
from spherehead.datasets.streaming.loader import DataError, ShardStream, StreamSettings
from spherehead.manifests.store import MANIFEST

PLAIN = StreamSettings(batch=4, resolution=32, mirror="off", lanes=2, window=2, piece=4)


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in pq.read_table(folder / MANIFEST).to_pylist()}


def decoded_of(folder: Path) -> dict[str, Decoded]:
    return {sample.id: sample for sample in inspect.iterate(folder)}


def changed(settings: StreamSettings = PLAIN, **values: Any) -> StreamSettings:
    import dataclasses

    return dataclasses.replace(settings, **values)


def test_an_epoch_holds_what_the_shards_hold(stream_set: Path) -> None:
    stream, truth = ShardStream([stream_set], PLAIN), decoded_of(stream_set)
    assert (stream.num_samples, stream.lanes, stream.epoch_batches) == (40, 2, 10)
    seen = Counter()
    for number in range(10):
        batch = stream[number]
        assert batch.mask is not None and batch.parsing is not None
        assert batch.number == number and batch.skipped == () and len(batch) == 4
        assert batch.image.shape == (4, 32, 32, 3) and batch.mask.shape == batch.parsing.shape == (4, 32, 32)
        for k, key in enumerate(batch.ids):
            sample = truth[key]
            assert sample.camera is not None
            assert np.array_equal(batch.image[k].numpy(), sample.image)
            assert np.array_equal(batch.mask[k].numpy(), sample.mask)
            assert np.array_equal(batch.parsing[k].numpy(), sample.parsing)
            assert batch.camera[k].numpy().tobytes() == sample.camera.label().tobytes()
            assert not batch.synthetic[k] and not batch.mirrored[k]
        seen.update(batch.ids)
    assert seen == dict.fromkeys(truth, 1)


def test_mirrored_samples_have_mirrored_labels_and_swapped_classes(stream_set: Path) -> None:
    stream, truth = ShardStream([stream_set], changed(mirror="both")), decoded_of(stream_set)
    seen = Counter()
    for number in range(stream.epoch_batches):
        batch = stream[number]
        assert batch.mask is not None and batch.parsing is not None
        for k, key in enumerate(batch.ids):
            sample, side = truth[key], bool(batch.mirrored[k])
            seen[key, side] += 1
            assert sample.camera is not None and sample.mask is not None and sample.parsing is not None
            camera = sample.camera.mirrored() if side else sample.camera
            assert batch.camera[k].numpy().tobytes() == camera.label().tobytes()
            step = -1 if side else 1
            assert np.array_equal(batch.image[k].numpy(), sample.image[:, ::step])
            assert np.array_equal(batch.mask[k].numpy(), sample.mask[:, ::step])
            expected = mirror_parsing(sample.parsing) if side else sample.parsing
            assert np.array_equal(batch.parsing[k].numpy(), expected)
    assert seen == {(key, side): 1 for key in truth for side in (False, True)}


def test_random_mirroring_turns_about_half_and_changes_with_the_epoch(stream_set: Path) -> None:
    stream = ShardStream([stream_set], changed(mirror="random", resolution=8))
    sides: dict[str, list[bool]] = {}
    for number in range(20 * stream.epoch_batches):
        batch = stream[number]
        for key, side in zip(batch.ids, batch.mirrored.tolist(), strict=True):
            sides.setdefault(key, []).append(side)
    assert all(len(found) == 20 and 0 < sum(found) < 20 for found in sides.values())
    assert abs(np.mean(list(sides.values())) - 0.5) < 5 * 0.5 / np.sqrt(800)


def test_a_batch_does_not_depend_on_what_was_read_before(stream_set: Path, streams: ModuleType) -> None:
    numbers = [0, 1, 2, 3, 57, 58, 59, 1000, 31]
    walk = ShardStream([stream_set], changed(mirror="random"))
    expected = {number: streams.digest(walk[number]) for number in numbers}
    for number in reversed(numbers):
        assert streams.digest(ShardStream([stream_set], changed(mirror="random"))[number]) == expected[number]
    assert len(set(expected.values())) == len(numbers)
    assert streams.digest(ShardStream([stream_set], changed(mirror="random", seed=1))[0]) != expected[0]


def test_a_person_has_one_number_in_all_views_and_copies(folder: Path, streams: ModuleType) -> None:
    rows = rows_of(folder)
    child = next(row for row in rows.values() if row["parent"])
    family = {key for row in rows.values() if row["parent"] for key in (row["id"], row["parent"])}
    named = sorted(set(rows) - family)[:2]

    def name(table: list[dict[str, Any]]) -> None:
        for row in table:
            if row["id"] in named:
                row["identity"] = "anna"

    streams.edit_rows(folder, name)
    stream = ShardStream([folder], changed(resolution=8))
    numbers: dict[str, int] = {}
    for number in range(stream.epoch_batches):
        batch = stream[number]
        numbers.update(zip(batch.ids, batch.subject.tolist(), strict=True))
    assert numbers[child["id"]] == numbers[child["parent"]] == subject_number(child["parent"])
    assert numbers[named[0]] == numbers[named[1]] == subject_number("anna")
    assert len(set(numbers.values())) == 40 - 2 - 1  # two mirrored copies, one pair of the same name
    assert all(0 <= value < 2**63 for value in numbers.values())


def test_weights_and_the_share_of_rendered_heads_decide_how_often_a_sample_is_shown(folder: Path, streams: ModuleType) -> None:
    keys = sorted(rows_of(folder))
    heavy, rendered = set(keys[:4]), set(keys[4:12])

    def weigh(table: list[dict[str, Any]]) -> None:
        for row in table:
            row["weight"], row["synthetic"] = (5.0 if row["id"] in heavy else 1.0), row["id"] in rendered

    streams.edit_rows(folder, weigh)

    def counts(**values: Any) -> Counter[str]:
        stream = ShardStream([folder], changed(resolution=8, **values))
        found: Counter[str] = Counter()
        for number in range(4 * stream.epoch_batches):
            batch = stream[number]
            found.update(batch.ids)
            assert [key in rendered for key in batch.ids] == batch.synthetic.tolist()
        return found

    assert set(counts(balance=False).values()) == {4}
    weighted = counts()
    share = 4 * 40 / (4 * 5 + 36)
    assert sum(weighted.values()) == 160
    assert {weighted[key] for key in heavy} <= {4 * 3, *range(13, 4 * 4 + 1)}
    assert all(4 * np.floor(share / 4) <= weighted[key] <= 4 * np.ceil(share / 4) for key in set(keys) - heavy)
    less = counts(balance=False, synthetic_weight=0.25)
    assert sum(less[key] for key in rendered) == pytest.approx(160 * 8 * 0.25 / (32 + 2), abs=8)
    assert not rendered & set(counts(synthetic_weight=0.0))


def test_each_byte_is_read_about_once_an_epoch(stream_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, int, int]] = []
    plain = LocalSource.read

    def watched(self: LocalSource, name: str, start: int, end: int) -> bytes:
        read.append((name, start, end))
        return plain(self, name, start, end)

    stream = ShardStream([stream_set], changed(resolution=8))
    monkeypatch.setattr(LocalSource, "read", watched)
    for number in range(5 * stream.epoch_batches):
        stream[number]
    total = sum(row["num_bytes"] for row in rows_of(stream_set).values())
    assert sum(end - start for _, start, end in read) < 5 * total * 1.15
    assert len(read) < 5 * 20  # 5 epochs, pieces of up to 4: 14 pieces and a few cut by lanes or windows


def test_small_sets_get_fewer_lanes_and_several_sets_are_one_stream(
    stream_set: Path, streams: ModuleType, finished_sets: ModuleType, tmp_path: Path
) -> None:
    assert ShardStream([stream_set], StreamSettings(batch=8, resolution=32)).lanes == 4
    other = streams.build(finished_sets, tmp_path / "other", count=12, size=64)

    def rename(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["synthetic"] = True

    streams.edit_rows(other, rename)
    with pytest.raises(DataError, match="stands in two of the sets"):
        ShardStream([stream_set, other], PLAIN)


@pytest.fixture
def other(stream_set: Path, tmp_path: Path, streams: ModuleType, finished_sets: ModuleType) -> Path:
    """A second set, of 64 pixels, with other ids than `stream_set` and neither masks nor class maps."""
    folder = streams.build(finished_sets, tmp_path / "other", count=30, size=64)
    streams.rename(folder, "other000", keep=("png", "cam.json", "json"))
    return Path(folder)


def test_sets_of_different_size_and_members_mix(stream_set: Path, other: Path) -> None:
    stream = ShardStream([stream_set, other], PLAIN)
    assert (stream.num_samples, stream.has_mask, stream.has_parsing) == (70, False, True)
    big = decoded_of(other)
    seen: set[str] = set()
    for number in range(stream.epoch_batches):
        batch = stream[number]
        assert batch.mask is None and batch.parsing is not None and batch.skipped == ()
        for k, key in enumerate(batch.ids):
            assert (key in big) == bool((batch.parsing[k] == 255).all())
            if key in big:
                mean = big[key].image.reshape(32, 2, 32, 2, 3).astype(float).mean(axis=(1, 3))
                assert np.abs(batch.image[k].numpy() - mean).max() <= 0.5
        seen.update(batch.ids)
    assert len(seen) == 70
    with pytest.raises(DataError, match="other has no masks"):
        ShardStream([stream_set, other], changed(need_mask=True))
    with pytest.raises(DataError, match="other has no class maps"):
        ShardStream([stream_set, other], changed(need_parsing=True))
    alone = ShardStream([stream_set], changed(read_mask=False, read_parsing=False))[0]
    assert alone.mask is None and alone.parsing is None


def flip(sample: bytearray, start: int, size: int) -> None:
    sample[start + size // 2] ^= 0xFF


def wipe(sample: bytearray, start: int, size: int) -> None:
    sample[start - 512 : start] = bytes(512)


def unsign(sample: bytearray, start: int, size: int) -> None:
    sample[start : start + 8] = bytes(8)


def blank(sample: bytearray, start: int, size: int) -> None:
    sample[start + 40 : start + size] = bytes(size - 40)


@pytest.mark.parametrize(
    ("member", "how", "said"),
    [
        ("png", flip, "other bytes than when it was built"),
        ("mask.png", wipe, "the shard holds"),
        ("png", wipe, "the shard holds"),
        (
            "seg.png",
            lambda sample, start, size: sample.__setitem__(slice(start, start + 8), bytes(8)),
            "seg.png does not decode",
        ),
        (
            "mask.png",
            lambda sample, start, size: sample.__setitem__(slice(start + 40, start + size), bytes(size - 40)),
            "mask.png",
        ),
    ],
)
def test_damaged_samples_are_skipped_counted_and_stood_in_for(
    folder: Path, streams: ModuleType, member: str, how: Callable[[bytearray, int, int], None], said: str
) -> None:
    rows = rows_of(folder)
    bad = sorted(rows)[0]  # also the one that is looked at first
    streams.spoil(folder, rows[bad], member, how)
    stream, again = (ShardStream([folder], changed(mirror="random")) for _ in range(2))
    truth = {key: sample.image for key, sample in decoded_of(streams.healed(folder, bad)).items()}
    skipped: list[str] = []
    for number in reversed(range(2 * stream.epoch_batches)):
        batch = stream[number]
        skipped += batch.skipped
        assert len(batch.ids) == 4 and bad not in batch.ids
        assert streams.digest(batch) == streams.digest(again[number])
        for k, key in enumerate(batch.ids):
            assert np.array_equal(batch.image[k].numpy(), truth[key][:, :: -1 if batch.mirrored[k] else 1])
    assert len(skipped) == 2 and all(text.startswith(f"{bad}: ") and said in text for text in skipped)


def test_a_window_without_a_good_sample_is_an_error(folder: Path, streams: ModuleType) -> None:
    for row in rows_of(folder).values():
        if row["shard"] != "train-000000.tar":
            streams.spoil(folder, row, "png", flip)
    stream = ShardStream([folder], changed(lanes=8))
    with pytest.raises(DataError, match=r"none of \d+ samples of one window can be used.*shards verify"):
        for number in range(stream.epoch_batches):
            stream[number]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"split": "val"}, "no shards of split 'val'; the set has train"),
        ({"batch": 41}, "40 samples to show, fewer than one micro-batch of 41"),
        ({"resolution": 64}, "size 32 x 32 is no whole multiple of 64 x 64"),
        ({"resolution": 12}, "size 32 x 32 is no whole multiple of 12 x 12"),
    ],
)
def test_settings_that_do_not_fit_the_set_are_refused(stream_set: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        ShardStream([stream_set], changed(**values))


def test_no_sets_and_impossible_settings_are_refused() -> None:
    with pytest.raises(DataError, match="no data sets"):
        ShardStream([], PLAIN)
    for values in ({"batch": 0}, {"synthetic_weight": -1.0}, {"need_mask": True, "read_mask": False}):
        with pytest.raises(ValueError, match=r"expected|need_mask"):
            changed(**values)


def test_a_shard_that_vanishes_while_training_is_said(folder: Path) -> None:
    stream = ShardStream([folder], PLAIN)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="cannot read"):
        for number in itertools.count():
            stream[number]
