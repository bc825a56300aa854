"""Loops over arrays as machine code: the only module that imports numba.

A loop is written as a plain Python function over arrays and is compiled when it is first wanted, so that nobody waits who does
not need it; tests run the plain function as its own slow twin.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any


@cache
def compiled(loop: Callable[..., Any], *helpers: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled; its machine code is kept beside its module or in the user's cache, if one can be written.

    Args:
        loop: a function of arrays and numbers that numba understands; floating-point sums keep their order.
        helpers: further such functions that the loop calls by their names. Kept code notices changes of the loop's own module
            only, so helpers had best lie in it.
    """
    import numba

    if helpers:
        known = {**loop.__globals__, **{helper.__name__: compiled(helper) for helper in helpers}}
        loop = _renamed(FunctionType(loop.__code__, known, loop.__name__, loop.__defaults__), loop)
    try:
        kept: Callable[..., Any] = numba.njit(cache=True)(loop)
    except RuntimeError:  # neither place can be written: compiled anew in each process
        kept = numba.njit(loop)
    return kept


def _renamed(copy: Callable[..., Any], loop: Callable[..., Any]) -> Callable[..., Any]:
    copy.__qualname__, copy.__module__ = loop.__qualname__, loop.__module__
    return copy
