"""Checkpoints of a run in an object store: uploaded after each save, and brought here where this machine has older ones.

A checkpoint's `config.json` goes last and comes last, so that a checkpoint is whole or does not count, there as here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ....datasets.shown import shown_place
from ....datasets.stores.connection import is_store, scheme_of
from ....datasets.stores.objects import ObjectStore, StoredObject, folder_name
from ....manifests.config import ConfigError, user_cache
from ....manifests.parsing import parse_json
from ....manifests.store import TEMPORARY, write_bytes
from ...store import CONFIG
from ..checkpoint import CHECKPOINTS, checkpoints
from ..record import RUN

BESIDE = (RUN, "metrics.jsonl")
"""Files of a run that are kept beside its checkpoints."""
_PIECE = 64 << 20


def run_folder(out: str) -> tuple[Path, str]:
    """Return where a run is written here, and its URL in an object store, empty for a run in a folder.

    Raises:
        ConfigError: the URL cannot be written, or the user has no home folder.
    """
    if not scheme_of(out):
        return Path(out), ""
    if not is_store(out) or "/" not in out.partition("://")[2].strip("/"):
        raise ConfigError(f"expected --out to be a folder or a prefix such as s3://bucket/run, got {shown_place(out)}")
    return user_cache() / "spherehead" / "runs" / folder_name(out), out.rstrip("/")


class RunStore:
    """A run's place in an object store."""

    def __init__(self, url: str, folder: Path) -> None:
        """Note the place.

        Args:
            url: of the run.
            folder: the run here.
        """
        self.store, self.folder = ObjectStore(url), folder

    def fetch(self, update: bool = False) -> str:
        """Bring the newest whole checkpoint here, unless this machine has it or a newer one.

        Args:
            update: let the store hold a run with other settings than the folder.

        Returns:
            Its name; empty where nothing was brought.

        Raises:
            ConfigError: the store holds another run than the folder.
            StoreError: the store does not answer, or refuses.
        """
        names = self.store.names()
        if RUN not in names:
            if names:
                told = f"{self.store.place} is not empty and holds no run ({', '.join(sorted(names)[:5])})"
                raise ConfigError(f"{told}; take another --out")
            return ""
        record = self.store.read(RUN)
        if not (self.folder / RUN).is_file():
            write_bytes(self.folder / RUN, record)
        elif not update and _fingerprint(record) != _fingerprint((self.folder / RUN).read_bytes()):
            raise ConfigError(
                f"{self.store.place} holds another run than {self.folder}; take another --out, or --update to replace it"
            )
        there = self._checkpoints()
        here = checkpoints(self.folder)
        if not there or (here and here[-1].name >= max(there)):
            return ""
        name = max(there)
        for found in sorted(there[name], key=lambda one: one.key.endswith(f"/{CONFIG}")):
            self._bring(found)
        return name

    def _bring(self, found: StoredObject) -> None:
        """Copy one object piece by piece, so that no checkpoint need fit in memory."""
        target = self.folder / found.key
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{target.name}{TEMPORARY}{os.getpid()}")
        with aside.open("wb") as file:
            for start in range(0, found.num_bytes, _PIECE):
                file.write(self.store.read_range(found.key, start, min(start + _PIECE, found.num_bytes)))
        aside.replace(target)

    def _checkpoints(self) -> dict[str, list[StoredObject]]:
        """Return the whole checkpoints of the store: name -> objects."""
        found: dict[str, list[StoredObject]] = {}
        for one in self.store.walk(CHECKPOINTS):
            parts = one.key.split("/")
            if isinstance(one, StoredObject) and len(parts) == 3 and parts[1].startswith("step-") and ".." not in parts:
                found.setdefault(parts[1], []).append(one)
        return {name: files for name, files in found.items() if any(one.key.endswith(f"/{CONFIG}") for one in files)}

    def keep(self, checkpoint: Path) -> None:
        """Upload a checkpoint and what lies beside it, and then remove those that this machine has removed.

        Raises:
            StoreError: the store does not answer, or refuses; older checkpoints are still there.
        """
        for name in BESIDE:
            if (self.folder / name).is_file():
                self.store.put_file(name, self.folder / name)
        for path in self._files(checkpoint):
            self.store.put_file(path.relative_to(self.folder).as_posix(), path)
        here = {path.name for path in checkpoints(self.folder)}
        for name, files in self._checkpoints().items():
            if name not in here and name < checkpoint.name:
                for one in sorted(files, key=lambda one: not one.key.endswith(f"/{CONFIG}")):
                    self.store.remove(one.key)

    def _files(self, checkpoint: Path) -> Iterator[Path]:
        files = sorted(path for path in checkpoint.iterdir() if path.is_file() and TEMPORARY not in path.name)
        yield from (path for path in files if path.name != CONFIG)
        yield checkpoint / CONFIG


def _fingerprint(record: bytes) -> str:
    """Return what tells runs apart."""
    plain = parse_json(record)
    return str(plain.get("fingerprint")) if isinstance(plain, dict) else ""


def open_run(out: str) -> tuple[Path, RunStore | None]:
    """Return where a run is written here, and its place in a store where `--out` is a URL; see `run_folder`."""
    folder, url = run_folder(out)
    return folder, RunStore(url, folder) if url else None
