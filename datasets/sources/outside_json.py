"""JSON from outside: parsed, or refused with one kind of error whatever the text is.

What the values mean is left to whoever asked.
"""

from __future__ import annotations

import json
from typing import Any

from ...manifests.config import brief

MAX_BYTES = 16 << 20
"""Longest JSON beside a picture."""


class RepeatedKeys(ValueError):
    """An object that has one key twice; the message names it."""


def parse(data: bytes | str, unique: bool = False) -> Any:
    """Parse JSON; integers too long for any measure become floats.

    Args:
        data: the text, with or without a byte order mark.
        unique: refuse objects that have a key twice, of which JSON would keep the last.

    Raises:
        ValueError: it is no JSON, is no text, or is nested too deeply.
    """
    if isinstance(data, str):
        data = data.removeprefix("\ufeff")
    try:
        return json.loads(data, parse_int=_integer, object_pairs_hook=_pairs if unique else None)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"no text ({error.reason} at byte {error.start})") from error


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 300 else float(digits)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in made if keys.count(key) > 1)
        raise RepeatedKeys(f"the key {brief(twice)} stands in it twice")
    return made
