"""Names and randomness come from content alone."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spherehead.manifests import identity


def test_id_is_the_hash_of_digest_and_head_index() -> None:
    digest = hashlib.sha256(b"picture").digest()
    assert identity.content_sha256(b"picture") == digest.hex()
    assert identity.sample_id(digest.hex(), 3) == hashlib.sha256(digest + b"\x00\x00\x00\x03").hexdigest()[:16]


@pytest.mark.parametrize(("digest", "index"), [("ab", 0), ("0" * 64, -1)])
def test_malformed_digest_or_index_is_refused(digest: str, index: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        identity.sample_id(digest, index)


@given(st.integers(0, 2**31), st.text(max_size=20), st.text(max_size=20))
def test_same_key_draws_the_same_numbers_and_another_key_others(seed: int, sample: str, step: str) -> None:
    first = identity.rng(seed, sample, step).integers(0, 2**63, 4)
    assert (first == identity.rng(seed, sample, step).integers(0, 2**63, 4)).all()
    assert (first != identity.rng(seed + 1, sample, step).integers(0, 2**63, 4)).any()


def test_draws_do_not_touch_the_global_generator() -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    identity.rng(0, "a", "b").normal(size=10)
    assert (np.random.get_state()[1] == before).all()


def test_unit_interval_is_even() -> None:
    values = np.array([identity.unit_interval(f"component{i}") for i in range(4000)])
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert values.min() >= 0 and values.max() < 1
    assert ((counts - 400) ** 2 / 400).sum() < 33.7  # chi-square, 9 degrees of freedom, p = 1e-4
