"""Rows that share a person, an album, a file, a look or a parent are never parted, whatever the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spherehead.pipeline.curation.splits import Links, SplitSettings, assign_splits, leakage

HALVES = SplitSettings({"train": 0.5, "val": 0.5})


def rows_of(count, rng, keys=6):
    """Random ties, most of them empty."""

    def some(prefix):
        return [f"{prefix}{rng.integers(keys * 4)}" if rng.random() < 0.4 else "" for _ in range(count)]

    ids = [f"{value:04x}" for value in rng.choice(65536, count, replace=False)]
    parents = [
        ids[rng.integers(i)] if i and rng.random() < 0.2 else ("absent" if rng.random() < 0.02 else "") for i in range(count)
    ]
    return Links(
        ids, some("person"), some("album"), [f"file{rng.integers(count)}" for _ in range(count)], some("look"), parents
    )


def pick(links, order):
    return Links(*([column[i] for i in order] for column in vars(links).values()))


def flood_fill(links):
    """The slow twin: components by repeated passes over all pairs of rows."""
    columns = [links.identity, links.group, links.sha256, links.cluster]
    label = list(links.ids)
    changed = True
    while changed:
        changed = False
        for i in range(len(label)):
            for j in range(len(label)):
                tied = any(column[i] and column[i] == column[j] for column in columns)
                tied |= links.parent[i] in (links.ids[j],) or bool(links.parent[i] and links.parent[i] == links.parent[j])
                if tied and label[i] != label[j]:
                    label[i] = label[j] = min(label[i], label[j])
                    changed = True
    return label


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_components_are_those_of_a_flood_fill_and_nothing_leaks(seed, count):
    links = rows_of(count, np.random.default_rng(seed))
    found = assign_splits(links, HALVES)
    assert found.component == flood_fill(links)
    assert set(leakage(links, found.split).values()) == {0}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_the_order_of_rows_does_not_matter(seed, count):
    rng = np.random.default_rng(seed)
    links = rows_of(count, rng)
    order = rng.permutation(count)
    plain, shuffled = assign_splits(links, HALVES), assign_splits(pick(links, order), HALVES)
    assert shuffled.component == [plain.component[i] for i in order]
    assert shuffled.split == [plain.split[i] for i in order]


def test_leakage_is_seen_for_every_kind_of_tie():
    links = Links(
        ["a", "b", "c", "d"],
        ["p", "p", "", ""],
        ["g", "", "g", ""],
        ["1", "2", "2", "3"],
        ["", "k", "", "k"],
        ["", "a", "gone", "gone"],
    )
    assert leakage(links, ["train", "train", "train", "train"]) == dict.fromkeys(
        ["identity", "group", "sha256", "cluster", "parent"], 0
    )
    assert leakage(links, ["train", "val", "train", "val"]) == {
        "identity": 1,
        "group": 0,
        "sha256": 1,
        "cluster": 0,
        "parent": 2,
    }
    assert leakage(links, ["train", "train", "val", "val"]) == {
        "identity": 0,
        "group": 1,
        "sha256": 1,
        "cluster": 1,
        "parent": 0,
    }


def test_a_set_that_grows_by_other_people_and_files_keeps_every_split():
    rng = np.random.default_rng(5)
    count = 400
    people = [f"person{rng.integers(60)}" if i % 2 else "" for i in range(count)]
    ids = [f"{value:05x}" for value in rng.choice(2**20, count, replace=False)]
    links = Links(ids, people, [""] * count, [f"{i:064x}" for i in range(count)], [""] * count, [""] * count)
    half = assign_splits(pick(links, range(200)), HALVES)
    whole = assign_splits(links, HALVES)
    assert whole.split[:200] == half.split


def test_shares_hold_over_many_components():
    count = 20000
    links = Links([f"{i:016x}" for i in range(count)], *([[""] * count] * 5))
    names, counts = np.unique(assign_splits(links).split, return_counts=True)
    assert names.tolist() == ["train", "val"]
    assert abs(counts[1] / count - 0.05) < 4 * (0.05 * 0.95 / count) ** 0.5


def test_a_split_without_share_gets_nothing_and_the_salt_deals_anew():
    count = 300
    links = Links([f"{i:016x}" for i in range(count)], *([[""] * count] * 5))
    only = assign_splits(links, SplitSettings({"train": 1.0, "zz": 0.0}))
    assert set(only.split) == {"train"}
    other = assign_splits(links, SplitSettings(HALVES.fractions, salt="again"))
    assert 0.3 < np.mean([a != b for a, b in zip(other.split, assign_splits(links, HALVES).split, strict=True)]) < 0.7


@pytest.mark.parametrize("fractions", [{}, {"train": 0.9}, {"train": 1.2, "val": -0.2}, {"": 1.0}])
def test_shares_that_make_no_whole_are_refused(fractions):
    with pytest.raises(ValueError, match="shares"):
        SplitSettings(fractions)


def test_uneven_columns_are_refused():
    with pytest.raises(ValueError, match="equal length"):
        Links(["a"], [], [], [], [], [])
    with pytest.raises(ValueError, match="twice"):
        Links(["a", "a"], *([["", ""]] * 5))


@pytest.mark.parametrize("name", ["a/b", "../out", "/x", "..", ".hidden", "a\0b", "a\nb", "x" * 61, "-rf", " "])
def test_names_of_splits_that_would_lead_shards_out_of_the_folder_are_refused(name):
    with pytest.raises(ValueError, match="expected names of splits"):
        SplitSettings({name: 1.0})


@pytest.mark.parametrize("name", ["train", "val-2", "été", "hold out", "v1.0", "_x"])
def test_ordinary_names_of_splits_are_taken(name):
    assert SplitSettings({name: 1.0}).fractions == {name: 1.0}
