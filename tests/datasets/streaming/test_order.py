"""The order of a stream against counting: who is shown how often, and that nothing but q, seed and sets decides it."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.datasets.streaming.order import MAX_WEIGHT, Order, cut_pieces, systematic

fast = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    num_rows = draw(st.integers(1, 90))
    num_shards = draw(st.integers(1, min(5, num_rows)))
    shard = np.sort(np.random.default_rng(draw(st.integers(0, 99))).integers(num_shards, size=num_rows))
    weight = st.one_of(st.just(1.0), st.sampled_from([0.0, 0.5, 10.0]), st.floats(1e-3, 20.0))
    weights = np.array(draw(st.lists(weight, min_size=num_rows, max_size=num_rows)))
    weights[draw(st.integers(0, num_rows - 1))] = 1.0
    return Order(
        starts=cut_pieces(shard, draw(st.integers(1, 20))), weights=weights, batch=draw(st.integers(1, 9)),
        lanes=draw(st.integers(1, 6)), window=draw(st.integers(1, 40)), seed=draw(st.integers(0, 2**40)),
        mirror=draw(st.sampled_from(["off", "random", "both"])),
    )  # fmt: skip


def shown(order: Order, numbers: range) -> list[list[tuple[int, bool]]]:
    """Return the (row, mirrored) samples of each micro-batch."""
    batches = []
    for number in numbers:
        place = order.place(number)
        rows, mirrored = order.shuffled(place, order.epoch(place.epoch))
        pick = slice(place.first, place.first + order.batch)
        batches.append(list(zip(rows[pick].tolist(), mirrored[pick].tolist(), strict=True)))
    return batches


@fast
@given(order=orders())
def test_an_epoch_shows_each_sample_floor_or_ceil_of_its_share(order: Order) -> None:
    start = order.epoch_batches * 3
    batches = shown(order, range(start, start + order.epoch_batches))
    assert all(len(batch) == order.batch for batch in batches)
    counts = Counter(sample if order.mirror == "both" else sample[0] for batch in batches for sample in batch)
    sides = [False, True] if order.mirror == "both" else [None]
    whole = [max(1, round(weight * 2**20)) if weight > 0 else 0 for weight in order.weights.tolist()]
    for row, weight in enumerate(whole):
        share = Fraction(weight * order.epoch_samples, sum(whole) * len(sides))
        for side in sides:
            assert counts[row if side is None else (row, side)] in (math.floor(share), math.ceil(share))


@fast
@given(order=orders())
def test_all_lanes_have_the_same_number_of_batches_and_windows_cover_each_lane(order: Order) -> None:
    places = [order.place(number) for number in range(2 * order.epoch_batches)]
    assert Counter((place.epoch, place.lane) for place in places) == {
        (epoch, lane): order.lane_batches for epoch in (0, 1) for lane in range(order.lanes)
    }
    epoch = order.epoch(0)
    assert len(epoch) == order.epoch_samples
    for lane in range(order.lanes):
        walk = [place for place in places if (place.epoch, place.lane) == (0, lane)]
        assert sorted({place.window for place in walk}) == list(range(order.lane_windows))
        held = {place.window: order.shuffled(place, epoch)[0] for place in walk}
        for window, rows in held.items():
            firsts = [place.first for place in walk if place.window == window]
            assert firsts == list(range(0, len(rows), order.batch))
        size = order.lane_batches * order.batch
        units = epoch[lane * size : (lane + 1) * size] // (2 if order.mirror == "both" else 1)
        assert Counter(np.concatenate(list(held.values())).tolist()) == Counter(units.tolist())


@fast
@given(order=orders(), numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_a_batch_depends_on_its_number_alone(order: Order, numbers: list[int]) -> None:
    alone = [shown(order, range(number, number + 1))[0] for number in numbers]
    again = Order(order.starts, order.weights, order.batch, order.lanes, order.window, order.seed, order.mirror)
    assert [shown(again, range(number, number + 1))[0] for number in reversed(numbers)] == alone[::-1]


@pytest.mark.parametrize(("ranks", "workers", "accumulate"), [(1, 1, 4), (2, 3, 1), (4, 2, 2), (8, 4, 1)])
def test_ranks_and_workers_together_see_what_one_process_sees(ranks: int, workers: int, accumulate: int) -> None:
    order = Order(cut_pieces(np.arange(300) // 50, 8), np.ones(300), 4, 8, 32, 5, "random")
    steps, per_step = 12, ranks * accumulate
    alone = shown(order, range(steps * per_step))
    seen: dict[int, list[tuple[int, bool]]] = {}
    for rank in range(ranks):
        numbers = [step * per_step + micro for step in range(steps) for micro in range(per_step) if micro % ranks == rank]
        for worker in range(workers):
            for number in numbers[worker::workers]:  # torch's DataLoader deals numbers to workers in turn
                assert number not in seen
                seen[number] = shown(order, range(number, number + 1))[0]
    assert [seen[number] for number in range(steps * per_step)] == alone


def test_order_changes_with_epoch_and_seed_and_mixes_pieces() -> None:
    def order(seed: int) -> Order:
        return Order(cut_pieces(np.zeros(640, dtype=int), 16), np.ones(640), 8, 2, 128, seed, "off")

    first, second = shown(order(1), range(80)), shown(order(1), range(80, 160))
    assert first != second and first != shown(order(2), range(80))
    pieces = [len({row // 16 for row, _ in batch}) for batch in first]
    assert np.mean(pieces) > 4  # 8 samples from windows of 8 pieces: 5.2 by chance alone


def test_positions_of_a_sample_are_even_over_epochs() -> None:
    order = Order(cut_pieces(np.zeros(64, dtype=int), 4), np.ones(64), 4, 2, 16, 7, "random")
    where = np.zeros((64, 16))
    mirrored = np.zeros(64)
    for number, batch in enumerate(shown(order, range(16 * 400))):
        for row, side in batch:
            where[row, number % 16] += 1
            mirrored[row] += side
    assert where.sum(axis=1).tolist() == [400] * 64
    expected = 400 / 16
    statistic = ((where - expected) ** 2 / expected).sum()  # chi square, 64 * 15 degrees of freedom: 960 +- 44
    assert 960 - 5 * 44 < statistic < 960 + 5 * 44
    assert abs(mirrored / 400 - 0.5).max() < 5 * 0.5 / math.sqrt(400)


def test_copies_of_a_heavy_sample_are_spread_and_mirrored_in_turn() -> None:
    weights = np.ones(256)
    weights[100] = 10.0
    order = Order(cut_pieces(np.zeros(256, dtype=int), 16), weights, 8, 1, 128, 3, "random")
    batches = shown(order, range(order.epoch_batches))
    counts = [sum(row == 100 for row, _ in batch) for batch in batches]
    assert sum(counts) in (9, 10) and max(counts) <= 2
    sides = [side for batch in batches for row, side in batch if row == 100]
    assert abs(sum(sides) - len(sides) / 2) <= 1


@fast
@given(
    weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=40),
    count=st.integers(1, 200),
    part=st.floats(0, 1, exclude_max=True),
)
def test_systematic_draws_count_points_at_equal_steps(weights: list[int], count: int, part: float) -> None:
    weights[0] += 1
    total = sum(weights)
    offset = int(part * total)
    found = systematic(np.array(weights), count, offset).tolist()
    ends = [sum(weights[: k + 1]) for k in range(len(weights))]
    exact = [Fraction(k * total + offset, count) for k in range(count)]
    assert found == [next(i for i, end in enumerate(ends) if point < end) for point in exact]


def test_weights_of_a_large_set_do_not_overflow() -> None:
    weights = np.full(10**6, MAX_WEIGHT << 20, dtype=np.int64)
    found = systematic(weights, 10**6 + 7, int(weights.sum()) - 1)
    assert np.bincount(found, minlength=10**6).min() == 1 and np.bincount(found).max() == 2 and len(found) == 10**6 + 7


def test_pieces_never_cross_shards_and_are_even() -> None:
    shard = np.repeat([0, 1, 2, 3], [33, 1, 16, 17])
    starts = cut_pieces(shard, 16)
    assert starts[0] == 0 and starts[-1] == 67
    for first, last in pairwise(starts):
        assert 1 <= last - first <= 16 and len(set(shard[first:last])) == 1
    assert np.diff(starts).tolist() == [11, 11, 11, 1, 16, 8, 9]


@pytest.mark.parametrize("change", [{"batch": 0}, {"weights": np.zeros(4)}, {"weights": np.array([1, np.nan, 1, 1])}])
def test_impossible_orders_are_refused(change: dict[str, object]) -> None:
    plain = {
        "starts": np.array([0, 4]), "weights": np.ones(4), "batch": 2, "lanes": 1, "window": 4, "seed": 0, "mirror": "off",
    }  # fmt: skip
    with pytest.raises(ValueError, match="expected"):
        Order(**{**plain, **change})  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        Order(**plain).place(-1)  # type: ignore[arg-type]
