"""Photographs with several heads, read in a seeded order that ranks share."""

from __future__ import annotations

from pathlib import Path

import pytest
from spherehead.datasets.shards.storage import DataError
from spherehead.datasets.streaming.photographs import PhotographStream


def test_ranks_without_end_have_a_photograph_each(finished_set: Path) -> None:
    """A rank that no photograph is left for would run through empty epochs for ever."""
    count = len(PhotographStream([finished_set]))
    orders = [PhotographStream([finished_set], epochs=None, rank=rank, num_ranks=count).order(0) for rank in range(count)]
    assert sorted(index for order in orders for index in order) == list(range(count))
    with pytest.raises(DataError, match=f"expected {count + 1} photographs or more, .* got {count}; start fewer ranks"):
        PhotographStream([finished_set], epochs=None, rank=count, num_ranks=count + 1)
    assert list(PhotographStream([finished_set], rank=count, num_ranks=count + 1)) == []  # one pass ends
