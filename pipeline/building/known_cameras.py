"""Cameras that a recipe's file gives by path, matched with the inputs as these are listed: every key is accounted for.

A label found here travels with its photograph, as a list's camera does, and is part of what the photograph's results are
remembered by; keys that name a content (id, sha256) are matched by the workers. What a label means is `estimate_camera`'s.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator

from ...datasets.sample import SourceImage
from ...datasets.sources.base import Refused
from ...datasets.sources.camera_sidecar import LABEL, Cameras, SidecarError, is_content_key, read_cameras
from ...datasets.sources.names import comparable, shown
from ..recipe import Recipe
from .memory.state import State

_FEW = 3


class KnownCameras:
    """The keys of one file of cameras and the photographs that they were found to mean."""

    def __init__(self, cameras: Cameras) -> None:
        """Expect the inputs of a build."""
        self.cameras = cameras
        self._found: dict[str, set[tuple[str, str]]] = {}
        self._own = 0
        self._first = ""
        self._by_form: dict[str, list[str]] = {}
        for key in cameras:
            self._by_form.setdefault(comparable(key), []).append(key)

    @classmethod
    def of(cls, recipe: Recipe) -> KnownCameras | None:
        """Read the file that a recipe names; None where it names none.

        Raises:
            SidecarError: it cannot be read.
        """
        path = next((stage.camera_file for stage in recipe.stages if stage.camera_file), "")
        return cls(read_cameras(path)) if path else None

    def attach(self, entries: Iterable[SourceImage | Refused]) -> Iterator[SourceImage | Refused]:
        """Give each photograph that a key names its label.

        Raises:
            SidecarError: keys with different cameras name one photograph.
        """
        for entry in entries:
            if isinstance(entry, Refused):
                yield entry
                continue
            self._first = self._first or f"{entry.source}/{entry.path}"
            keys = self._keys_of(entry)
            for key in keys:
                self._found.setdefault(key, set()).add((entry.source, entry.path))
            labels = {self.cameras[key] for key in keys}
            if len(labels) > 1:
                names = " and ".join(f"'{shown(key)}'" for key in keys)
                text = f"{names} name one photograph, {shown(entry.path)}, with other cameras; which one counts?"
                raise SidecarError(f"{self.cameras.name}: {text}")
            if labels and "camera" in entry.sidecar:
                self._own += 1
            elif labels:
                label = json.dumps(labels.pop())
                entry = dataclasses.replace(entry, sidecar={**entry.sidecar, LABEL: label})
            yield entry

    def _keys_of(self, entry: SourceImage) -> list[str]:
        """Return the keys that name a photograph: spelt as it is, else in another Unicode form or with Windows' slashes."""
        names = (f"{entry.source}/{entry.path}", entry.path)
        exact = [name for name in names if name in self.cameras]
        return exact or [key for name in names for key in self._by_form.get(comparable(name), ())]

    def check_listed(self, whole: bool = True) -> list[str]:
        """Return what to tell once the inputs are listed.

        Args:
            whole: every input is, so that some key must have matched.

        Raises:
            SidecarError: a key means several photographs, or no key means any.
        """
        name, total = self.cameras.name, len(self.cameras)
        for key, places in self._found.items():
            if len(places) > 1:
                named = ", ".join(shown(f"{source}/{path}") for source, path in sorted(places)[:_FEW])
                text = f"the key '{shown(key)}' means {len(places)} photographs: {named}; write the source before the path"
                raise SidecarError(f"{name}: {text}")
        left = [key for key in self.cameras if key not in self._found]
        paths = [key for key in left if not is_content_key(key)]
        if whole and not self._found and len(paths) == total:
            first = f"the first key is '{shown(left[0])}', " if left else ""
            seen = f"the first photograph '{shown(self._first)}'" if self._first else "there is no photograph"
            raise SidecarError(f"{name}: 0 of {total} keys matched; {first}{seen}")
        lines = [f"{name}: {len(self._found)} of {total} keys matched by path"]
        if paths:
            some = ", ".join(f"'{shown(key)}'" for key in paths[:_FEW])
            lines.append(f"{name}: {len(paths)} keys match no photograph, such as {some}")
        if self.cameras.repeated:
            lines.append(f"{name}: {self.cameras.repeated} keys stand twice, with the same numbers")
        if self._own:
            lines.append(f"{name}: {self._own} photographs have a camera of their own source, which is taken")
        return lines

    def check_worked(self, state: State, whole: bool = True) -> list[str]:
        """Return what to tell of the keys that name a content, once the inputs are worked on; arguments as before.

        Raises:
            SidecarError: neither a path nor a content matched.
        """
        name, total = self.cameras.name, len(self.cameras)
        keys = [key for key in self.cameras if key not in self._found and is_content_key(key)]
        if not keys:
            return []
        lost = [key for key in keys if not state.knows_content(key)]
        if whole and len(lost) == total:
            raise SidecarError(f"{name}: 0 of {total} keys matched; the first key is '{lost[0]}'")
        lines = [f"{name}: {len(keys) - len(lost)} of {len(keys)} ids and digests matched"]
        return lines + ([f"{name}: '{lost[0]}' and {len(lost) - 1} more match nothing"] if lost else [])
