"""Damaged assets and scans through real builds: each is told by its file's name, its head refused, everything else built."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spherehead.pipeline import presets
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.synthetic.assets import library as assets
from spherehead.pipeline.synthetic.assets.formats import AssetError
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.scans.mesh_head import build_head, read_sidecar, sidecar_of
from spherehead.pipeline.synthetic.scans.meshes import MeshLimits, read_scan

trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
pytest.importorskip("mitsuba", reason="mitsuba is not installed")
import scans  # noqa: E402


def refusals(out: Path, counts: dict[str, int]) -> dict[str, str]:
    """Return path -> detail of everything that was refused as a bad asset; nothing may be refused for another reason."""
    origins = pd.read_parquet(out / "origins.parquet")
    bad = origins[origins["reason"] == "bad_asset"]
    assert len(bad) == counts["failed"]
    assert counts["inputs"] == counts["kept"] + counts["failed"]
    return dict(zip(bad["path"], bad["detail"], strict=True))


def choose(makehuman: Assets, count: int = 5) -> tuple[int, dict[int, str], tuple[int, str]]:
    """Find neighbours of whom three wear hair that no other has, and one more smiles as no other does.

    Returns:
        first head; head -> its hair; (head, its expression).
    """
    people = [draw_person(makehuman, 3, head) for head in range(24)]
    for first in range(24 - count):
        some = {head: people[head] for head in range(first, first + count)}
        worn = [person.hair for person in some.values()]
        hair = {head: person.hair for head, person in some.items() if person.hair and worn.count(person.hair) == 1}
        faces = [name for person in some.values() for name in person.expression]
        own = [(head, name) for head, person in some.items() for name in sorted(person.expression) if faces.count(name) == 1]
        for moved, morph in own:
            three = [head for head in hair if head != moved][:3]
            if len(three) == 3:
                return first, {head: hair[head] for head in three}, (moved, morph)
    raise AssertionError("no such people among 24")


def test_each_damaged_asset_refuses_its_own_head_alone(
    makehuman: Assets, makehuman_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "cache_folder", lambda: tmp_path / "cache")
    first, hair, (moved, morph) = choose(makehuman)
    folder = tmp_path / "assets"
    shutil.copytree(makehuman_folder, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (bare, texture), (odd, nan), (thin, flat) = hair.items()
    picture = makehuman.piece(texture).texture
    (folder / picture).unlink()
    mesh = folder / f"{nan}.obj"
    mesh.write_text(mesh.read_text().replace("\nv ", "\nv nan ", 1))
    mesh = folder / f"{flat}.obj"
    mesh.write_text(re.sub(r"^v .*$", "v 0 1 2", mesh.read_text(), flags=re.MULTILINE))
    target = folder / f"targets/{morph}.target"
    target.write_text(target.read_text()[:-5])
    text = f"makehuman:first={first},count=5,views=1,seed=3,size=64,samples=1,assets={folder}"
    summary = build(BuildRequest((text,), tmp_path / "out", presets.frames(), engine="inline"))
    told = {int(Path(path).parent.name[-6:]): detail for path, detail in refusals(tmp_path / "out", summary.counts).items()}
    names = {
        bare: Path(picture).name, odd: f"{Path(nan).name}.obj", thin: f"{Path(flat).name}.obj",
        moved: f"{Path(morph).name}.target",
    }  # fmt: skip
    assert sorted(told) == sorted(names)
    for head, name in names.items():
        assert name in told[head]
    assert summary.counts["kept"] == 1


def spoil_texture(folder: Path) -> str:
    scans.save(scans.textured(), folder / "texture.obj")
    next(path for path in folder.glob("*.png") if path.stem in (folder / "texture.mtl").read_text()).unlink()
    return r"\.png: expected the file that texture\.obj names"


def spoil_numbers(folder: Path) -> str:
    mesh = scans.coloured()
    mesh.vertices[5] = np.nan
    scans.save(mesh, folder / "numbers.ply")
    return r"numbers\.ply: expected finite coordinates, got 1 "


def spoil_areas(folder: Path) -> str:
    mesh = scans.coloured()
    mesh.faces[:2000, 1] = mesh.faces[:2000, 0]
    scans.save(mesh, folder / "areas.glb")
    return r"areas\.glb: expected faces with an area, got 2,000 of 5,120"


def spoil_layers(folder: Path) -> str:
    mesh = scans.coloured()
    mesh.faces = np.vstack([mesh.faces, mesh.faces[:1500]])
    scans.save(mesh, folder / "layers.ply")
    return r"layers\.ply: expected a surface, but .* edges belong to more than two faces"


def spoil_landmarks(folder: Path) -> str:
    told = scans.sidecar()
    del told["landmarks"]["chin"]
    scans.save(scans.coloured(), folder / "landmarks.ply")
    (folder / "landmarks.json").write_text(json.dumps(told))
    return r"landmarks\.json: expected the landmarks .*; got no chin"


def spoil_file(folder: Path) -> str:
    path = scans.save(scans.textured(), folder / "file.glb")
    path.write_bytes(path.read_bytes()[:3000])
    return r"file\.glb: not a readable GLB file"


def spoil_sidecar(folder: Path) -> str:
    (scans.save(scans.coloured(), folder / "sidecar.ply")).with_suffix(".json").write_text("{")
    return r"sidecar\.json: expected JSON"


def spoil_absence(folder: Path) -> str:
    (scans.save(scans.coloured(), folder / "absence.ply")).with_suffix(".json").unlink()
    return r"absence\.json: expected a sidecar with the landmarks left_eye_outer"


def spoil_sides(folder: Path) -> str:
    told = scans.sidecar()["landmarks"]
    told["left_eye_outer"], told["right_eye_outer"] = told["right_eye_outer"], told["left_eye_outer"]
    scans.save(scans.coloured(), folder / "sides.ply", landmarks=told)
    return r"sides\.json: only a mirrored head"


def spoil_count(folder: Path) -> str:
    mesh = scans.coloured().subdivide()
    scans.save(mesh, folder / "count.ply")
    return r"count\.ply: 20,480 faces, more than max_faces 10,000"


def spoil_colours(folder: Path) -> str:
    mesh = scans.coloured()
    scans.save(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False), folder / "colours.obj")
    return r"colours\.obj: expected a texture or colours"


def spoil_reach(folder: Path) -> str:
    mesh = scans.coloured()
    mesh.vertices = np.array(mesh.vertices) * 20.0
    scans.save(mesh, folder / "reach.ply")
    return r"reach\.ply: reaches"


SPOILERS: tuple[Callable[[Path], str], ...] = (
    spoil_texture, spoil_numbers, spoil_areas, spoil_layers, spoil_landmarks, spoil_file, spoil_sidecar, spoil_absence,
    spoil_sides, spoil_count, spoil_colours, spoil_reach,
)  # fmt: skip


def test_each_damaged_scan_is_refused_by_name_and_the_good_ones_built(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    wanted = {spoil.__name__.removeprefix("spoil_"): spoil(folder) for spoil in SPOILERS}
    scans.save(scans.coloured(), folder / "good.ply")
    few = scans.coloured()  # a little damage does no harm: it is left out
    few.faces[:20, 1] = few.faces[:20, 0]
    scans.save(few, folder / "nearly.glb")
    text = f"mesh:{folder},views=1,size=64,samples=1,limits.max_faces=10000"
    summary = build(BuildRequest((text,), tmp_path / "out", presets.frames(), engine="inline"))
    told = {Path(path.split("/")[0]).stem: detail for path, detail in refusals(tmp_path / "out", summary.counts).items()}
    assert sorted(told) == sorted(wanted)
    for name, words in wanted.items():
        assert re.search(words, told[name]), (name, told[name])
        assert str(tmp_path) not in told[name]
    rows = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    assert summary.counts["kept"] == 2
    assert (rows["status"] == "kept").sum() == 2


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"landmarks": {}}, "got no left_eye_outer, right_eye_outer, nose_tip, chin"),
        ([1], "expected an object"),
        ({}, "got none"),
        ({"landmarks": {**scans.sidecar()["landmarks"], "ear": [0, 0, 0]}}, "an unknown ear"),
        ({"landmarks": {**scans.sidecar()["landmarks"], "chin": [0, 0]}}, r"chin is \[0, 0\]"),
        ({"landmarks": {**scans.sidecar()["landmarks"], "chin": [0, 0, float("nan")]}}, "chin is"),
        (scans.sidecar(licence="CC0"), "did you mean 'license'"),
        (scans.sidecar(license=3), "expected text in 'license'"),
    ],
)
def test_a_wrong_sidecar_says_what_is_wrong(tmp_path: Path, told: object, words: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(told))
    with pytest.raises(AssetError, match=words) as refused:
        read_sidecar(tmp_path / "a.json")
    assert "a.json" in str(refused.value)


def test_what_was_left_out_is_counted(tmp_path: Path) -> None:
    mesh = scans.coloured()
    mesh.faces[:20, 1] = mesh.faces[:20, 0]
    mesh.faces = np.vstack([mesh.faces, mesh.faces[100:103]])
    path = scans.save(mesh, tmp_path / "a.ply")
    head = build_head(path, read_sidecar(sidecar_of(path)))
    assert head.num_flat == 20
    assert 7 <= head.num_tangled <= 9  # three doubled faces have nine edges, fewer where they touch
    assert sum(len(part.faces) for part in head.parts) == 5120 + 3 - 20


def test_too_large_a_file_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.ply"
    with path.open("wb") as file:
        file.truncate(3_000_000)
    with pytest.raises(AssetError, match=r"large\.ply: 3 MB, more than max_megabytes 2"):
        read_scan(path, MeshLimits(max_megabytes=2.0))
