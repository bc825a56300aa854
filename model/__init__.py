"""Shards into heads: generators, discriminators and their training."""

import os

# PyTorch reads this at its first large allocation: huge pages make fresh activations 3 to 6 times cheaper on a Linux CPU.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# GCC's OpenMP reads this when PyTorch is imported: threads that wait for each other spin for microseconds, then sleep. By
# default they spin for long, and beside other busy processes take the processor from those they wait for (models page).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
