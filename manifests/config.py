"""Frozen dataclasses to canonical JSON and back, with `--set a.b=c` and errors that name the field and a likely fix."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import math
import os
import reprlib
import stat
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union

from .parsing import parse_yaml
from .registry import Registry

T = TypeVar("T")
MAX_BYTES = 4 << 20
"""Longest file of settings."""
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 120
_BRIEF.maxdict = _BRIEF.maxlist = _BRIEF.maxtuple = 8


class ConfigError(ValueError):
    """A setting that does not exist or does not fit; the message says what was expected, what came and what to do."""


def to_plain(value: Any) -> Any:
    """Turn dataclasses, tuples, mappings and scalars into what JSON knows.

    Raises:
        ConfigError: a value has no JSON form, or is NaN or infinite.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"a setting must be finite, got {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"a setting must be a number, text, list or dataclass, got {type(value).__name__}")


def from_plain(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build the dataclass `cls` from plain data; fields that are not named keep their defaults.

    Args:
        cls: a frozen dataclass whose field types are scalars, Literal, tuple, dict, unions of these, or dataclasses.
        data: what `to_plain` returned, or hand-written YAML.
        where: name shown in errors, such as "stage detect".

    Raises:
        ConfigError: unknown field (with a suggestion), missing field, or a value of the wrong type.
    """
    where = where or cls.__name__
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected a mapping of settings, got {brief(data)}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise ConfigError(unknown(key, fields, where))
    values = {key: _convert(hints[key], value, f"{where}.{key}") for key, value in data.items()}
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing field '{missing[0]}'")
    try:
        return cls(**values)
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"{where}: {error}") from error


def unknown(key: str, known: Sequence[str] | Mapping[str, Any], where: str) -> str:
    """Word the error for a name that does not exist, with the nearest one that does."""
    key = key if isinstance(key, str) else brief(key)
    near = difflib.get_close_matches(key[:80], list(known), n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(sorted(known))}"
    return f"unknown field '{key[:80]}' in {where}{hint}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check `value` against a type hint and return it in that type (int to float, list to tuple, mapping to dataclass)."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    kinds = vars(hint).get("kinds") if isinstance(hint, type) else None
    if isinstance(kinds, Registry):
        return value if isinstance(value, typing.cast(type, hint)) else _convert_kind(kinds, value, where)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast(type, hint)) else from_plain(typing.cast(type, hint), value, where)
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is typing.Literal:
        if value in args and type(value) in {type(arg) for arg in args}:
            return value
        raise ConfigError(f"{where}: expected one of {', '.join(map(repr, args))}, got {brief(value)}")
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a mapping, got {brief(value)}")
        return {str(key): _convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is type(None) and value is None:
        return None
    if isinstance(hint, type) and type(value) is hint and not (isinstance(value, float) and not math.isfinite(value)):
        return value
    raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {brief(value)}")


def _convert_kind(kinds: Registry[Any], value: Any, where: str) -> Any:
    """Return the registered dataclass that plain data with a `kind` describes."""
    if not isinstance(value, Mapping) or not isinstance(kind := value.get("kind"), str):
        raise ConfigError(f"{where}: expected a mapping with a `kind`, one of {', '.join(sorted(kinds))}, got {brief(value)}")
    if kind not in kinds:
        raise ConfigError(f"{where}: {kinds.unknown(kind)}")
    return from_plain(kinds[kind], value, where)


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    errors = []
    for arg in sorted(args, key=lambda arg: arg is float):
        try:
            return _convert(arg, value, where)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError(" or ".join(errors))


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {brief(value)}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(args):
        raise ConfigError(f"{where}: expected {len(args)} values, got {len(value)}")
    return tuple(_convert(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))


def check_ranges(settings: Any, **ranges: tuple[float, float]) -> None:
    """Refuse numbers of a dataclass that are outside their ranges; fields that are null are left out.

    Args:
        settings: a dataclass.
        ranges: field -> lowest and highest number, or lengths where the field is a tuple.

    Raises:
        ConfigError: one is outside.
    """
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        measured = len(value) if isinstance(value, tuple) else value
        if measured is not None and not low <= measured <= high:
            what = f"{low:g} to {high:g} entries in {name}" if isinstance(value, tuple) else f"{name} of {low:g} to {high:g}"
            raise ConfigError(f"expected {what}, got {measured if abs(measured) < 1e18 else 'far more'}")


def user_path(text: str) -> Path:
    """Return a path that a person wrote, `~` and `~name` replaced by the home folder.

    Raises:
        ConfigError: there is no such home folder, as for a user without an entry where HOME is not set.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        words = f"cannot tell the home folder in {brief(text)} ({error}); set HOME, or write the whole path"
        raise ConfigError(words) from error


def user_cache() -> Path:
    """Return the user's cache folder: $XDG_CACHE_HOME, else ~/.cache.

    Raises:
        ConfigError: see `user_path`.
    """
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def weights_folder() -> Path:
    """Return where fetched model files go: $SPHEREHEAD_WEIGHTS, else the user's cache folder."""
    chosen = os.environ.get("SPHEREHEAD_WEIGHTS")
    return user_path(chosen) if chosen else user_cache() / "spherehead" / "weights"


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def fingerprint(value: Any, length: int = 16) -> str:
    """Return the first `length` hex digits of sha256 over the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """Split `a.b=c` into (["a", "b"], value); the value is read as YAML, so `1e-3`, `true`, `[1, 2]` and `null` work.

    Raises:
        ConfigError: there is no '=' or no name before it.
    """
    name, separator, value_text = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"expected NAME=VALUE, got {text!r}; for example --set detect.faces=all")
    try:
        value = parse_yaml(value_text) if value_text.strip() else ""
    except ValueError as error:
        raise ConfigError(f"cannot read the value of {brief(text)} as YAML: {error}") from error
    if isinstance(value, str):  # YAML 1.1 does not take 1e-3 for a number
        with contextlib.suppress(ValueError):
            value = float(value)
    return [part.strip() for part in name.split(".")], value


def replace_at(config: T, path: Sequence[str], value: Any, where: str = "") -> T:
    """Return a copy of a nested dataclass with the field at `path` set, checked like any other input."""
    where = where or type(config).__name__
    hints = typing.get_type_hints(type(config))
    head, rest = path[0], path[1:]
    if head not in hints or head not in {field.name for field in dataclasses.fields(config)}:  # type: ignore[arg-type]
        raise ConfigError(unknown(head, [f.name for f in dataclasses.fields(config)], where))  # type: ignore[arg-type]
    if not rest:
        new = _convert(hints[head], value, f"{where}.{head}")
    else:
        child = getattr(config, head)
        if not dataclasses.is_dataclass(child):
            raise ConfigError(f"{where}.{head} is a plain value; it has no field '{rest[0]}'")
        new = replace_at(child, rest, value, f"{where}.{head}")
    try:
        return dataclasses.replace(config, **{head: new})  # type: ignore[type-var]
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"{where}.{head}: {error}") from error


def replace_many(config: T, changes: Mapping[str, Any], where: str = "") -> T:
    """Return a copy of a nested dataclass with several fields set at once, so that settings which need each other may come.

    Args:
        config: a dataclass.
        changes: dotted path -> value.
        where: name shown in errors.
    """
    where = where or type(config).__name__
    hints = typing.get_type_hints(type(config))
    whole: dict[str, Any] = {}
    for name, value in changes.items():
        head, _, rest = name.partition(".")
        if head not in {field.name for field in dataclasses.fields(config)}:  # type: ignore[arg-type]
            raise ConfigError(unknown(head, [field.name for field in dataclasses.fields(config)], where))  # type: ignore[arg-type]
        if not rest:
            whole[head] = _convert(hints[head], value, f"{where}.{head}")
            continue
        child = whole.get(head, getattr(config, head))
        if not dataclasses.is_dataclass(child):
            raise ConfigError(f"{where}.{head} is a plain value; it has no field '{rest.split('.')[0]}'")
        whole[head] = replace_at(child, rest.split("."), value, f"{where}.{head}")
    try:
        return dataclasses.replace(config, **whole)  # type: ignore[type-var]
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"{where}: {error}") from error


def override(config: T, assignments: Sequence[str]) -> T:
    """Apply `--set a.b=c` texts in order and return the changed copy."""
    for text in assignments:
        path, value = parse_assignment(text)
        config = replace_at(config, path, value)
    return config


def load_plain(path: Path) -> Any:
    """Read a YAML or JSON file into plain data.

    Raises:
        ConfigError: there is no such file, or it does not parse; the message names it.
    """
    kind = "JSON" if path.suffix == ".json" else "YAML"  # YAML 1.1 takes JSON's 1e-08 for a text
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"expected a {kind} file at {path}, found a folder, pipe or device")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"expected settings in {path}, it has more than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text) if kind == "JSON" else parse_yaml(text)
    except RecursionError as error:
        raise ConfigError(f"cannot read {path} as {kind}: it is nested too deeply") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"cannot read {path} as {kind}: {error}") from error


def brief(value: Any) -> str:
    """Return a value's repr for a message, cut where it is long."""
    try:
        text = _BRIEF.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits has no repr
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else text[:197] + "..."
