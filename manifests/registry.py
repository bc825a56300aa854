"""Kinds of one thing by name - stages, sources, volumes, loss terms - and plugins, which add kinds of a user's own.

What is registered is any object with a name; the rooms that own a kind of thing hold its registry.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
PLUGINS = "spherehead.plugins"
"""Group of entry points that installed packages name their plugin modules in."""
log = logging.getLogger(__name__)


class RegistryError(ValueError):
    """A name that is taken or a plugin that cannot be loaded; the message says which and what to do."""


class Registry(Mapping[str, T]):
    """Things of one kind by name, in the order in which they were added."""

    def __init__(self, what: str) -> None:
        """Begin an empty registry.

        Args:
            what: the kind of thing, for messages: "stage".
        """
        self.what = what
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Add a thing under a name and return it.

        Raises:
            RegistryError: another thing has the name.
        """
        known = self._items.get(name)
        if known is not None and _origin(known) != _origin(item):
            raise RegistryError(
                f"the {self.what} '{name}' is registered twice: by {_origin(known)} and {_origin(item)}; rename one"
            )
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def unknown(self, name: str) -> str:
        """Word the error for a name that is not registered, with the nearest one that is."""
        near = difflib.get_close_matches(name, list(self._items), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(self._items))}"
        return f"unknown {self.what} '{name}'; {hint} A {self.what} of your own is loaded with --plugin MODULE"


def _origin(item: object) -> str:
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', item)}"


def load_plugins(named: Sequence[str] = ()) -> list[str]:
    """Import the plugin modules of installed packages and those named, so that they register what they bring.

    A file's folder is put at the end of `sys.path`: worker processes inherit the path and find the module by its name.

    Args:
        named: modules that can be imported, or paths of Python files.

    Returns:
        The names of the modules.

    Raises:
        RegistryError: one cannot be imported.
    """
    modules = []
    for entry in sorted(entry_points(group=PLUGINS), key=lambda entry: entry.name):
        modules.append(_imported(entry.value, f"of the package that names {entry.name}"))
    return modules + [_imported(text, "named by --plugin") for text in named]


def _imported(text: str, whence: str) -> str:
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # "~nobody"
        raise RegistryError(f"expected a module or a Python file, {whence}, got {text!r}: {error}") from error
    name = text
    if path.suffix == ".py":
        if not path.is_file():
            raise RegistryError(f"expected a Python file at {text!r}, {whence}, but nothing is there; check the path")
        name = path.stem
        folder = str(path.resolve().parent)
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise RegistryError(f"cannot import the plugin {text!r}, {whence}: {type(error).__name__}: {error}") from error
    found = Path(getattr(module, "__file__", "") or "")
    if path.suffix == ".py" and found.resolve() != path.resolve():
        raise RegistryError(f"the plugin {text!r} has the name of the module {found}; rename the file")
    log.debug("plugin %s from %s", name, found)
    return name
