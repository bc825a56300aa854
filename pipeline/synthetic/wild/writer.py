"""Writes photographs into an ordinary set of shards: seeded, resumable, the same bytes whatever the workers and kills.

A shard is a function of the settings and its number: workers take whole shards, and a shard is done when its rows lie beside it
in `.state`. Manifest and header are written last, from all rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa

from .... import __version__
from ....datasets.shards.codec import row_json
from ....datasets.shards.tar import write_shard
from ....manifests import store
from ....manifests.config import ConfigError, fingerprint, from_plain, to_plain
from ....manifests.schema import SCHEMA_VERSION, flatten, schema_for, to_table
from ...execution.processes import in_processes
from ..named_values import named_values
from ..people.settings import fingerprint_of
from ..source import RASTER, SCHEME, WILD, MakeHumanSettings, decisive, opened
from .photographs import CAST, VERSION, cast_of, take

STATE = ".state"
VALIDATION = 10
"""One cast in this many is of the split val; all others are of train."""


@dataclass(frozen=True)
class ShardPlan:
    """One shard to be."""

    name: str
    split: str
    casts: tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """What a set holds."""

    photographs: int
    heads: int
    shards: int
    made: int
    """Shards that this run made; the others were there."""


def parse_wild(text: str) -> MakeHumanSettings:
    """Read `makehuman:count=600,views=20`; framing and light are those of photographs where nothing is said.

    Raises:
        ConfigError: an unknown setting (with a suggestion) or a value that does not fit.
    """
    return from_plain(MakeHumanSettings, {"framing": WILD, "light": RASTER, **named_values(text)}, SCHEME.rstrip(":"))


def plan(settings: MakeHumanSettings, shard_size: int) -> list[ShardPlan]:
    """Return the shards of a set; casts stay whole, so that shards hold about `shard_size` photographs."""
    casts = range(-(-settings.count // CAST))
    each = max(1, round(shard_size / (CAST * settings.views)))
    plans = []
    for split in ("train", "val"):
        own = [cast for cast in casts if (cast % VALIDATION == VALIDATION - 1) == (split == "val")]
        for number, start in enumerate(range(0, len(own), each)):
            plans.append(ShardPlan(f"{split}-{number:06d}.tar", split, tuple(own[start : start + each])))
    return plans


def write_photographs(
    settings: MakeHumanSettings, out: Path, shard_size: int = 1000, workers: int = 1,
    tick: Callable[[str, int], None] = lambda name, count: None,
) -> Written:  # fmt: skip
    """Write or finish a set of photographs.

    Args:
        settings: what is rendered; `framing` must be wild.
        out: folder of the set.
        shard_size: photographs in a shard, about.
        workers: processes.
        tick: called with name and number of photographs of each shard that is there.

    Raises:
        ConfigError: other settings stand in the folder, or the framing is another one.
        AssetError: an asset is damaged or missing.
    """
    if settings.framing != WILD:
        raise ConfigError(f"expected framing=wild, got {settings.framing}; build-dataset writes canonical crops")
    assets = opened(settings.assets)
    files = fingerprint_of(assets, settings.people)
    key = fingerprint([VERSION, decisive(settings), files, shard_size, cv2.__version__])
    _claim(out, key)
    plans = plan(settings, shard_size)
    missing = [shard for shard in plans if not _is_done(out, shard, key)]
    if missing:
        (out / store.HEADER).unlink(missing_ok=True)
    made = in_processes(partial(make_shard, settings, out, key), missing, workers)
    for shard, count in zip(missing, made, strict=True):
        tick(shard.name, count)
    return _finish(settings, out, plans, files, len(missing))


def _claim(out: Path, key: str) -> None:
    """Refuse a folder that holds another set."""
    path = out / STATE / "photographs.json"
    if path.is_file():
        found = json.loads(path.read_bytes())
        if found != {"key": key}:
            raise ConfigError(f"{out} was begun with other settings, assets or packages; name another folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"expected an empty folder or one that this command began, got {out}; name another folder")
    store.write_json(path, {"key": key})


def _rows_path(out: Path, shard: ShardPlan) -> Path:
    return out / STATE / f"{shard.name}.json"


def _is_done(out: Path, shard: ShardPlan, key: str) -> bool:
    path = _rows_path(out, shard)
    if not path.is_file():
        return False
    told = json.loads(path.read_bytes())
    tar = out / shard.name
    return bool(told["key"] == key and tar.is_file() and tar.stat().st_size == told["entry"]["num_bytes"])


def make_shard(settings: MakeHumanSettings, out: Path, key: str, shard: ShardPlan) -> int:
    """Make one shard, and the rows that say it is done; returns its number of photographs."""
    cv2.setNumThreads(1)
    assets = opened(settings.assets)
    found = {}
    for number in shard.casts:
        cast = cast_of(settings, assets, number)
        for lead in range(len(cast)):
            for view in range(settings.views):
                taken = take(settings, cast, number, lead, view, fingerprint_of(assets, settings.people))
                found[taken.id] = taken
    ordered = [found[id] for id in sorted(found)]
    samples = ((one.id, {**one.members, "json": row_json({**one.row, "heads": one.heads})}) for one in ordered)
    entry, placed = write_shard(out / shard.name, shard.split, samples)
    rows = [
        {**one.row, "shard": shard.name, "split": shard.split, "index_in_shard": place.index, "offset": place.offset,
         "num_bytes": place.num_bytes}
        for one, place in zip(ordered, placed, strict=True)
    ]  # fmt: skip
    store.write_json(_rows_path(out, shard), {"key": key, "entry": to_plain(entry), "rows": rows})
    return len(rows)


def _finish(settings: MakeHumanSettings, out: Path, plans: list[ShardPlan], assets: str, made: int) -> Written:
    """Write manifest, origins and header from the rows of all shards."""
    told = [json.loads(_rows_path(out, shard).read_bytes()) for shard in plans]
    entries = tuple(store.ShardEntry(**shard["entry"]) for shard in told)
    rows = sorted((row for shard in told for row in shard["rows"]), key=lambda row: str(row["id"]))
    components: dict[str, str] = {}
    for row in rows:
        components.setdefault(row["group"], row["id"])
    chain = fingerprint(["photographs", VERSION])
    for row in rows:
        row.update(status="kept", component=components[row["group"]], chain=chain, synthetic=True)
    written = Written(len(rows), sum(row["num_heads"] for row in rows), len(entries), made)
    if (out / store.HEADER).is_file() and not made:
        return written
    sha256 = store.write_table(out / store.MANIFEST, [_table(rows)], schema_for((), ()))
    _write_origins(out, rows)
    splits = Counter(f"samples_{row['split']}" for row in rows)
    counts = {
        "inputs": len(rows), "kept": len(rows), "dropped": 0, "failed": 0, "duplicate": 0, "not_image": 0,
        "heads_kept": len(rows), **dict(sorted(splits.items())),
    }  # fmt: skip
    recipe = {"name": "photographs", "stages": [], "settings": decisive(settings), "assets": assets, "version": VERSION}
    step = {"stage": "photographs", "version": VERSION, "settings": decisive(settings), "backend": "spherehead",
            "backend_version": __version__, "weights": {}}  # fmt: skip
    store.write_json(
        out / store.HEADER,
        store.Header(SCHEMA_VERSION, __version__, recipe, {chain: [step]}, _environment(), counts, {}, entries, sha256),
    )
    return written


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return to_table([flatten(row) for row in rows], schema_for((), ()))


def _write_origins(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write where every photograph comes from: its person and view."""
    schema = pa.schema([(name, pa.string()) for name in ("source", "path", "sha256", "outcome", "reason", "detail")])
    made = [json.loads(row["derivation"]) for row in rows]
    paths = [f"{one['person']}/{one['view']:05d}.jpg" for one in made]
    columns = [["makehuman"] * len(rows), paths, [row["sha256"] for row in rows], ["kept"] * len(rows), [""] * len(rows),
               [""] * len(rows)]  # fmt: skip
    table = pa.table([pa.array(column, pa.string()) for column in columns], schema=schema).sort_by("path")
    store.write_table(out / store.ORIGINS, [table], schema)


def _environment() -> dict[str, str]:
    """Return the versions that decide bytes."""
    import importlib.metadata
    import platform

    names = ("numpy", "scipy", "opencv-contrib-python", "numba", "scikit-image", "webdataset", "pyarrow")
    found = {"python": platform.python_version(), "spherehead": __version__}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found
