"""Loops over arrays as machine code: the only module that imports numba.

A loop is written as a plain Python function over arrays and is compiled when it is first wanted, so that nobody waits who does
not need it; tests run the plain function as its own slow twin.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled; its machine code is kept beside its module or in the user's cache, if one can be written.

    Args:
        loop: a function of arrays and numbers that numba understands; floating-point sums keep their order.
    """
    import numba

    try:
        kept: Callable[..., Any] = numba.njit(cache=True)(loop)
    except RuntimeError:  # neither place can be written: compiled anew in each process
        kept = numba.njit(loop)
    return kept
