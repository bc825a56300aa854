"""Settings in the text of a source that renders, as in `makehuman:count=500,people.glasses=0.5`, as nested plain data.

What the settings are and which values they take is left to the source.
"""

from __future__ import annotations

from typing import Any

from ...manifests.config import ConfigError


def named_values(text: str) -> dict[str, Any]:
    """Read `scheme:name=value,folder.name=value` as nested plain data.

    Raises:
        ConfigError: an item that is no name with a value, or a name that is given twice.
    """
    plain: dict[str, Any] = {}
    for item in filter(None, text.partition(":")[2].split(",")):
        name, found, value = item.partition("=")
        if not found:
            raise ConfigError(f"{text}: expected settings as name=value, got {item!r}")
        place = plain
        *folders, last = name.strip().split(".")
        for folder in folders:
            place = place.setdefault(folder, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{text}: expected settings of {folder} as {folder}.name=value, got {folder}={place!r}")
        if last in place:
            raise ConfigError(f"{text}: {name.strip()} is given twice; give every setting once")
        place[last] = _value(value.strip())
    return plain


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
