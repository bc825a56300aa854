"""Near duplicates are found as a comparison of all pairs finds them, in any order of rows, mirror images included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.pipeline.curation.duplicates import DuplicateSettings, close_pairs, find_equal, find_near, parse_hashes
from spherehead.pipeline.curation.perceptual_hash import perceptual_hashes


def compare_all(ids, phash, mirror, scores, parents, settings):
    """The slow twin: every pair of rows, then flood fill, in plain Python."""
    parent = dict(zip(ids, parents, strict=True))

    def root(id):
        while parent.get(id):
            id = parent[id]
        return id

    rows = list(range(len(ids)))
    roots = [root(id) for id in ids]
    speaking = [i for i in rows if ids[i] == roots[i] or roots[i] not in ids]

    def near(i, j):
        first = [phash[i], mirror[i]] if settings.mirror else [phash[i]]
        second = [phash[j], mirror[j]] if settings.mirror else [phash[j]]
        return any(a and b and bin(int(a, 16) ^ int(b, 16)).count("1") <= settings.max_distance for a in first for b in second)

    neighbours = {unit: {unit} for unit in roots}
    for i, j in itertools.combinations(speaking, 2):
        if settings.near and near(i, j):
            neighbours[roots[i]].add(roots[j])
            neighbours[roots[j]].add(roots[i])
    claim = {unit: min((-scores[k], ids[k]) for k in speaking if roots[k] == unit) for unit in roots}
    yields = {}
    for unit in sorted(neighbours, key=claim.__getitem__):
        leaders = [other for other in neighbours[unit] - {unit} if other in yields and yields[other] is None]
        yields[unit] = min(leaders, key=claim.__getitem__) if leaders else None
    cluster, kept, duplicate_of = [], [], []
    for i in rows:
        group, fresh = set(), {roots[i]}
        while fresh:
            group |= fresh
            fresh = set().union(*(neighbours[unit] for unit in fresh)) - group
        cluster.append("" if len(group) == 1 else min(ids[k] for k in rows if roots[k] in group))
        leader = yields[roots[i]]
        kept.append(leader is None)
        duplicate_of.append("" if leader is None else claim[leader][1])
    return cluster, kept, duplicate_of


@st.composite
def crowded_sets(draw):
    """Sets whose hashes lie around few centres, so that clusters, chains and misses at the limit all occur."""
    count = draw(st.integers(1, 24))
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))

    def some_hash():
        if draw(st.integers(0, 9)) == 0:
            return ""
        value = draw(st.sampled_from(centres))
        for bit in draw(st.lists(st.integers(0, 63), max_size=5)):
            value ^= 1 << bit
        return f"{value:016x}"

    ids = draw(st.lists(st.text("abcdef", min_size=3, max_size=4), min_size=count, max_size=count, unique=True))
    scores = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=count, max_size=count))
    order = sorted(range(count), key=lambda i: draw(st.integers(0, 99)))
    parents = [""] * count
    for position, i in enumerate(order):
        choice = draw(st.integers(0, 5))
        if choice == 0 and position:
            parents[i] = ids[order[draw(st.integers(0, position - 1))]]
        elif choice == 1:
            parents[i] = draw(st.sampled_from(["gone-1", "gone-2"]))
    hashes = [some_hash() for _ in ids]
    mirrors = [some_hash() for _ in ids]
    rules = DuplicateSettings(max_distance=draw(st.integers(0, 8)), mirror=draw(st.booleans()))
    return ids, hashes, mirrors, scores, parents, rules


@settings(max_examples=150, deadline=None)
@given(crowded_sets())
def test_clusters_are_those_of_a_comparison_of_all_pairs(columns):
    found = find_near(*columns)
    cluster, kept, duplicate_of = compare_all(*columns)
    assert found.cluster == cluster
    assert found.kept.tolist() == kept
    assert found.duplicate_of == duplicate_of


@settings(max_examples=60, deadline=None)
@given(crowded_sets(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(columns, random):
    *lists, rules = columns
    order = list(range(len(lists[0])))
    random.shuffle(order)
    plain = find_near(*lists, rules)
    shuffled = find_near(*([column[i] for i in order] for column in lists), rules)
    assert shuffled.cluster == [plain.cluster[i] for i in order]
    assert shuffled.kept.tolist() == [plain.kept[i] for i in order]
    assert shuffled.duplicate_of == [plain.duplicate_of[i] for i in order]


@pytest.mark.parametrize("max_distance", [1, 4, 6, 10])
def test_no_pair_within_the_distance_is_missed(max_distance):
    rng = np.random.default_rng(max_distance)
    values = rng.integers(0, 2**64, 300, dtype=np.uint64)
    flipped = values[:150].copy()
    for k in range(150):  # exactly at the limit
        for bit in rng.choice(64, max_distance, replace=False):
            flipped[k] ^= np.uint64(1) << np.uint64(bit)
    values = np.unique(np.concatenate([values, flipped]))
    first, second = close_pairs(values, max_distance)
    distance = np.bitwise_count(values[:, None] ^ values[None])
    expected = {(i, j) for i, j in zip(*np.nonzero(distance <= max_distance), strict=True) if i < j}
    assert {(min(a, b), max(a, b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)} == expected


def test_the_sharpest_stays_and_the_smallest_id_among_equals():
    near = ["00000000000000ff", "00000000000000fe", "00000000000000fc"]
    far = "ffffffff00000000"
    found = find_near(["c", "a", "b", "d"], [*near, far], ["", "", "", ""], [1.0, 2.0, 2.0, 0.0], [""] * 4)
    assert found.cluster == ["a", "a", "a", ""]
    assert found.kept.tolist() == [False, True, False, True]
    assert found.duplicate_of == ["a", "", "a", ""]


def test_a_slow_turn_keeps_its_views_though_it_is_one_cluster():
    turn = [f"{(1 << 3 * k) - 1:016x}" for k in range(12)]
    ids = [f"{k:02d}" for k in range(12)]
    found = find_near(ids, turn, [""] * 12, [1.0] * 12, [""] * 12, DuplicateSettings(max_distance=6))
    assert set(found.cluster) == {"00"}
    assert np.flatnonzero(found.kept).tolist() == [0, 3, 6, 9]
    assert found.duplicate_of[4] == "03" and found.duplicate_of[5] == "03"


def test_unknown_scores_give_way():
    found = find_near(["a", "b"], ["0" * 16] * 2, ["0" * 16] * 2, [float("nan"), 0.1], ["", ""])
    assert found.kept.tolist() == [False, True]


def test_a_mirrored_and_saved_again_photograph_is_found_by_its_own_hashes(astronaut):
    import cv2

    again = cv2.imdecode(cv2.imencode(".jpg", astronaut[:, ::-1, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)
    other = np.roll(astronaut, 160, axis=0)[::-1]
    hashes = [perceptual_hashes(picture) for picture in (astronaut, again[..., ::-1].copy(), other.copy())]
    columns = ["a", "b", "c"], [h[0] for h in hashes], [h[1] for h in hashes], [1.0, 0.5, 0.2], [""] * 3
    assert find_near(*columns).kept.tolist() == [True, False, True]
    assert find_near(*columns, DuplicateSettings(mirror=False)).kept.all()


def test_hashes_repeat_and_the_mirror_image_swaps_them(astronaut):
    own, mirrored = perceptual_hashes(astronaut)
    assert (own, mirrored) == perceptual_hashes(astronaut.copy())
    assert (mirrored, own) == perceptual_hashes(np.ascontiguousarray(astronaut[:, ::-1]))
    assert len(own) == len(mirrored) == 16 and own != mirrored


def test_augmented_copies_share_their_parents_fate():
    ids, parents = ["p", "q", "p1", "p2", "q1"], ["", "", "p", "p1", "q"]
    hashes = ["0" * 16, "0" * 15 + "1", "0" * 16, "f" * 16, "f" * 16]
    found = find_near(ids, hashes, hashes, [2.0, 1.0, 0.0, 0.0, 9.0], parents)
    assert found.cluster == ["p"] * 5
    assert found.kept.tolist() == [True, False, True, True, False]
    assert found.duplicate_of == ["", "p", "", "", "p"]


def test_equal_keys_are_duplicates_and_empty_ones_are_not():
    found = find_equal(["d", "b", "c", "a"], ["x", "x", "", ""], [0.0, 0.0, 0.0, 0.0])
    assert found.cluster == ["b", "b", "", ""]
    assert found.kept.tolist() == [False, True, True, True]
    assert found.duplicate_of == ["b", "", "", ""]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phash": ["12", "0" * 16]}, "16 hexadecimal digits, got '12'"),
        ({"phash": ["g" * 16, "0" * 16]}, "got 'gggggggggggggggg'"),
        ({"ids": ["a", "a"]}, "twice"),
        ({"scores": [1.0]}, "columns of 2 rows"),
        ({"parents": ["b", "a"]}, "descend from themselves"),
        ({"parents": ["a", ""]}, "descend from themselves"),
    ],
)
def test_bad_columns_are_refused_in_words(change, message):
    columns = {"ids": ["a", "b"], "phash": ["0" * 16] * 2, "phash_mirror": ["0" * 16] * 2, "scores": [0.0, 0.0]}
    columns = {**columns, "parents": ["", ""], **change}
    with pytest.raises(ValueError, match=message):
        find_near(**columns)


def test_an_empty_set_has_no_duplicates():
    assert find_near([], [], [], [], []).cluster == []
    assert parse_hashes([]).size == 0
