"""Names and random numbers that depend on content alone. File names, paths, order and workers never enter here."""

from __future__ import annotations

import hashlib

import numpy as np


def content_sha256(data: bytes) -> str:
    """Return the 64 hex digits of sha256 over a file's raw bytes."""
    return hashlib.sha256(data).hexdigest()


def sample_id(sha256: str, head_index: int = 0) -> str:
    """Return the 16-hex id of one head in one file: sha256 over (digest of the file's bytes, head index).

    Args:
        sha256: 64 hex digits, as from `content_sha256`.
        head_index: position of the head in the detector's stable order, from 0.

    Raises:
        ValueError: the digest is not 64 hex digits or the index is negative.
    """
    if len(sha256) != 64:
        raise ValueError(f"expected the 64 hex digits of a sha256, got {len(sha256)} characters")
    if head_index < 0:
        raise ValueError(f"expected a head index of 0 or more, got {head_index}")
    return hashlib.sha256(bytes.fromhex(sha256) + head_index.to_bytes(4, "big")).hexdigest()[:16]


def derived_id(parent: str, step: str, copy: int) -> str:
    """Return the id of the `copy`-th sample that `step` made from sample `parent`."""
    return hashlib.sha256(f"{parent}/{step}/{copy}".encode()).hexdigest()[:16]


def rng(seed: int, sample: str, step: str) -> np.random.Generator:
    """Return a counter-based generator that depends on (seed, sample id, step) only.

    Philox (Salmon et al. 2011) is keyed with a 128-bit hash of the three, so neither the number of workers, nor the order
    of samples, nor a restart can change what a step draws.
    """
    digest = hashlib.sha256(f"{seed}\x00{sample}\x00{step}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def unit_interval(key: str) -> float:
    """Map a key to a number in [0, 1), evenly and for good: what splits by hash are cut from."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2.0**64
