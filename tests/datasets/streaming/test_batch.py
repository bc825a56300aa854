"""Pixels of a batch: brought to its resolution as by hand, mirrored without a pixel lost, and one memory for all tensors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.shards.tar import packed_size, write_shard
from spherehead.datasets.streaming.batch import Shape, batch_in, empty_memory, members_of, shrink_classes, shrink_image

fast = settings(max_examples=40, deadline=None, derandomize=True)


def majority(parsing: np.ndarray, resolution: int) -> np.ndarray:
    """Block by block: the class that covers most, and of equal ones the one that is rarer in the whole map."""
    factor, total = len(parsing) // resolution, np.bincount(parsing.ravel(), minlength=256)
    found = np.zeros((resolution, resolution), np.uint8)
    for y, x in np.ndindex(found.shape):
        block = parsing[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        counts = np.bincount(block.ravel(), minlength=256)
        found[y, x] = min(np.flatnonzero(counts == counts.max()).tolist(), key=lambda value: (total[value], value))
    return found


@fast
@given(
    resolution=st.integers(1, 9), factor=st.integers(1, 6), classes=st.integers(1, 20), unknown=st.booleans(),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_class_maps_take_the_class_that_covers_most_of_each_block(
    resolution: int, factor: int, classes: int, unknown: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    parsing = random.integers(classes, size=(resolution * factor,) * 2).astype(np.uint8)
    if unknown:
        parsing[random.random(parsing.shape) < 0.2] = 255
    found = shrink_classes(parsing, resolution)
    assert found.dtype == np.uint8 and np.array_equal(found, majority(parsing, resolution))
    if unknown is False and classes == 1:
        assert (found == 0).all()


def test_shrinking_and_mirroring_a_class_map_change_places(finished_sets: object) -> None:
    from spherehead.datasets.camera import Camera

    parsing = finished_sets.render(Camera.look_at(0.5, 0.1), 128)[2]  # type: ignore[attr-defined]
    for resolution in (64, 32, 16):
        assert np.array_equal(shrink_classes(parsing, resolution)[:, ::-1], shrink_classes(parsing[:, ::-1].copy(), resolution))
        thin = parsing == 12  # the upper lip, two pixels thick at 64
        share = (shrink_classes(parsing, resolution) == 12).mean() / thin.mean()
        assert resolution == 16 or 0.75 < share < 1.25


@fast
@given(resolution=st.integers(1, 16), factor=st.integers(1, 9), depth=st.sampled_from([None, 3]), seed=st.integers(0, 999))
def test_pictures_and_masks_are_averaged_over_whole_blocks(resolution: int, factor: int, depth: int | None, seed: int) -> None:
    size = (resolution * factor,) * 2 + (() if depth is None else (depth,))
    image = np.random.default_rng(seed).integers(256, size=size).astype(np.uint8)
    mean = image.reshape(resolution, factor, resolution, factor, -1).mean(axis=(1, 3)).reshape((resolution,) * 2 + size[2:])
    assert np.abs(shrink_image(image, resolution) - mean).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("size", [(32, 24), (30, 30), (8, 8)])
def test_sizes_that_are_no_whole_multiple_are_refused(size: tuple[int, int]) -> None:
    for shrink in (shrink_image, shrink_classes):
        with pytest.raises(ValueError, match="no whole multiple of 16 x 16"):
            shrink(np.zeros(size, np.uint8), 16)


@pytest.mark.parametrize(("has_mask", "has_parsing"), [(True, True), (False, True), (False, False)])
def test_a_batch_is_one_memory_and_travels_as_one(has_mask: bool, has_parsing: bool) -> None:
    from multiprocessing.reduction import ForkingPickler

    shape = Shape(3, 10, has_mask, has_parsing)
    batch = batch_in(empty_memory(shape), shape, (), 77, ())
    parts = [batch.image, batch.camera, batch.mask, batch.parsing, batch.subject, batch.synthetic, batch.mirrored]
    there = [part for part in parts if part is not None]
    assert len({part.untyped_storage().data_ptr() for part in there}) == 1
    for value, part in enumerate(there):
        part.fill_(value % 2)
    spans = sorted((part.data_ptr(), part.data_ptr() + part.numel() * part.itemsize) for part in there)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert sum(part.numel() * part.itemsize for part in there) <= shape.num_bytes < 10**5
    assert batch.image.permute(0, 3, 1, 2).is_contiguous(memory_format=torch.channels_last)
    assert batch.camera.dtype == torch.float32 and batch.subject.dtype == torch.int64 and batch.synthetic.dtype == torch.bool
    assert (batch.mask is None, batch.parsing is None) == (not has_mask, not has_parsing)
    torch.multiprocessing.reductions.init_reductions()
    assert len(ForkingPickler.dumps(batch)) < 1500  # pixels lie in shared memory


@fast
@given(contents=st.lists(st.binary(max_size=1600), min_size=1, max_size=5))
def test_members_are_found_where_the_tar_writer_put_them(
    contents: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = ("jpg", "mask.png", "seg.png", "cam.json", "json")
    samples = [(key, dict(zip(names, contents, strict=False))) for key in ("0123456789abcdef", "fedcba9876543210")]
    path = tmp_path_factory.mktemp("members") / "a.tar"
    _, placed = write_shard(path, "train", samples)
    data = memoryview(path.read_bytes())
    for (key, members), place in zip(samples, placed, strict=True):
        part = data[place.offset : place.offset + place.num_bytes]
        assert place.num_bytes == packed_size(members)
        assert {name: bytes(found) for name, found in members_of(part, key).items()} == members
        with pytest.raises(ValueError, match="the shard holds"):
            members_of(part, "0000000000000000")
        if members[max(members)]:  # the last one's content is cut
            with pytest.raises(ValueError, match="the shard holds"):
                members_of(part[: -packed_size({"": members[max(members)]}) + 512], key)
