"""Missing views are filled where they lack, with people like those photographed, and follow the photographs alone."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.sample import SourceImage
from spherehead.manifests.config import ConfigError
from spherehead.manifests.identity import sample_id
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.plan import make_plan
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.curation.balance import BalanceSettings, view_bins
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame
from spherehead.pipeline.stages.quality import Quality
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.back_view import MissingViews
from spherehead.pipeline.synthetic.derived_source import KeptHead
from spherehead.pipeline.synthetic.people.appearance import Appearance, nearest, skin_colour
from spherehead.pipeline.synthetic.people.population import draw_person

pytest.importorskip("mitsuba", reason="mitsuba is not installed")
GRID = BalanceSettings(num_azimuths=4, num_elevations=3)
RECIPE = Recipe("test", (Frame(size=64, max_upscale=4.0),), balance=GRID)
HASHED = Quality(
    max_clipped=1.0, min_luma=0.0, min_highlights=0.0, max_blur_px=99.0, max_halo=9.0, max_smoothing=9.0, max_enlargement=99.0
)
DARK, LIGHT = (0.30, 0.19, 0.14), (0.91, 0.76, 0.68)


def heads(count: int, appearance: Appearance | None = None) -> list[KeptHead]:
    """Heads seen from the front, as photographs show them."""
    return [KeptHead(sample_id(f"{index:064x}"), 0.3 * math.sin(index), 0.0, appearance) for index in range(count)]


def names(source: MissingViews, kept: list[KeptHead]) -> list[SourceImage]:
    return [entry for entry in source.derived(kept, RECIPE) if isinstance(entry, SourceImage)]


@pytest.fixture(scope="session")
def text(makehuman_folder: Path) -> str:
    return f"views:assets={makehuman_folder},samples=1,most=6,views=4"


def test_views_are_added_where_they_lack_and_lie_in_their_bins(text: str) -> None:
    source = MissingViews(text.replace("most=6", "most=1000,level=3"))
    fills = names(source, heads(9))
    bins = [json.loads(fill.sidecar["derivation"])["bin"] for fill in fills]
    turns = np.array([json.loads(fill.sidecar["shot"])[2] for fill in fills])
    assert view_bins(turns[:, 0], turns[:, 1], GRID).tolist() == bins
    counts = np.bincount(bins, minlength=GRID.num_bins)
    front = view_bins(np.array([-0.1, 0.1]), np.zeros(2), GRID)
    assert counts[front].tolist() == [0, 0]  # the photographs show 4.5 there
    sides = np.setdiff1d(np.arange(4, 8), front)
    assert counts[sides].tolist() == [3, 3]
    assert np.degrees(turns[:, 1]).min() > -35.001
    assert len({fill.path for fill in fills}) == len(fills)
    assert {fill.rights.license for fill in fills} == {"CC0-1.0"}


def test_nothing_is_added_to_a_set_without_cameras_or_without_leave(text: str) -> None:
    assert names(MissingViews(text), []) == []
    assert names(MissingViews(text.replace("most=6", "most=0")), heads(3)) == []
    with pytest.raises(ConfigError, match="lowest_degrees"):
        MissingViews("views:lowest_degrees=70,highest_degrees=60")
    with pytest.raises(ConfigError, match="roll_degrees of 0"):
        MissingViews("views:roll_degrees=-1")
    with pytest.raises(ConfigError, match="most"):
        MissingViews("views:moost=3")


def test_a_new_photograph_moves_few_fills(text: str) -> None:
    """A person has the colours of the next photograph on a ring, so one photograph more of 40 moves about one in 40."""
    source = MissingViews(text.replace("most=6,views=4", "most=160,level=20,views=8"))
    appearance = Appearance(LIGHT, None)
    before, after = names(source, heads(40, appearance)), names(source, heads(41, appearance))
    assert len(before) > 100
    kept = {fill.path for fill in before} & {fill.path for fill in after}
    assert len(kept) > 0.8 * len(before)
    assert names(source, heads(40, appearance)[::-1]) == before  # the order of photographs never matters


def test_people_follow_the_colours_of_photographs(makehuman: Assets, text: str) -> None:
    people = [draw_person(makehuman, 0, head) for head in range(48)]
    dark, light = (nearest(makehuman, people, Appearance(colour, None)) for colour in (DARK, LIGHT))
    assert np.mean(skin_colour(makehuman, dark)) < 0.45 < 0.6 < np.mean(skin_colour(makehuman, light))
    blond, black = (nearest(makehuman, people, Appearance(None, colour)) for colour in ((0.7, 0.55, 0.35), (0.05, 0.04, 0.04)))
    assert np.mean(blond.hair_colour) > np.mean(black.hair_colour) + 0.2
    told = {
        json.loads(fill.sidecar["derivation"])["colours_of"]
        for fill in names(MissingViews(text), heads(5, Appearance(DARK, None)))
    }
    assert told <= {head.id for head in heads(5)}
    assert told
    told = {json.loads(fill.sidecar["derivation"])["colours_of"] for fill in names(MissingViews(text), heads(5))}
    assert told == {""}


@pytest.fixture
def photos(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Five pictures with a camera each, all from the front, and class maps of which half is skin, half hair."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = []
    for index in range(5):
        cv2.imwrite(str(folder / f"{index}.png"), astronaut[index * 60 : index * 60 + 64, 100:164, ::-1])
        camera = Camera.look_at(0.4 * (index - 2), 0.05)
        (folder / f"{index}.json").write_text(json.dumps(camera.label().tolist()))
        parsing = np.full((64, 64), INDEX["skin"], dtype=np.uint8)
        parsing[:32] = INDEX["hair"]
        cv2.imwrite(str(folder / f"{index}_map.png"), parsing)
        rows.append(f"{index}.png,{index}.json,{index}_map.png")
    (folder / "list.csv").write_text("path,camera,parsing\n" + "\n".join(rows[:4]) + "\n")
    (folder / "more.csv").write_text("path,camera,parsing\n" + "\n".join(rows) + "\n")
    return folder


def run(photos: Path, text: str, out: Path, name: str = "list.csv", **options: object) -> Summary:
    sources = (str(photos / name), text)
    return build(BuildRequest(sources, out, RECIPE, **{"engine": "inline", **options}))


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted([*out.glob("*.tar"), out / "manifest.parquet"])}


def test_a_build_fills_its_views_the_same_for_any_workers_and_says_so(photos: Path, text: str, tmp_path: Path) -> None:
    request = BuildRequest((str(photos / "list.csv"), text), tmp_path / "1", RECIPE, engine="inline")
    assert "4 inputs that are not worked on yet will change that" in "\n".join(make_plan(request).lines())
    assert run(photos, text, tmp_path / "1").counts["kept"] == 10
    run(photos, text, tmp_path / "2", workers=2, engine="local")
    assert shards(tmp_path / "1") == shards(tmp_path / "2")
    assert run(photos, text, tmp_path / "1").worked == 0
    plan = make_plan(request)
    assert (plan.filled, plan.kept, plan.unchanged) == (6, 4, 10)
    rows = pd.read_parquet(tmp_path / "1" / "manifest.parquet")
    made = rows[rows["synthetic"]]
    assert len(made) == 6
    assert set(made["license"]) == {"CC0-1.0"}
    assert (made["parent"].str.len() == 16).all()
    assert made["cluster"].fillna("").eq("").all()
    told = [json.loads(text) for text in made["derivation"]]
    assert {entry["step"] for entry in told} == {"fill-views"}
    assert {entry["colours_of"] for entry in told} <= set(rows["id"][~rows["synthetic"]])
    assert all(any(name.startswith("skins/") for name in entry["assets"]) for entry in told)
    assert [entry["bin"] for entry in told] == made["view_bin"].astype(int).tolist()


def test_fills_follow_the_photographs(photos: Path, text: str, tmp_path: Path) -> None:
    """More photographs give what a build of all of them at once gives; fills that are no longer due go."""
    run(photos, text, tmp_path / "grown")
    run(photos, text, tmp_path / "grown", "more.csv", update=True)
    run(photos, text, tmp_path / "whole", "more.csv")
    assert shards(tmp_path / "grown") == shards(tmp_path / "whole")
    for path in (tmp_path / "whole" / ".state").glob("cache.sqlite*"):
        path.unlink()
    with pytest.raises(ConfigError, match="other settings or sources"):
        run(photos, text.replace("most=6", "most=2"), tmp_path / "whole", "more.csv")


def test_rendered_heads_are_no_duplicates_of_each_other(photos: Path, text: str, tmp_path: Path) -> None:
    """At a distance at which any two heads look alike, no rendered one gives way."""
    near = dataclasses.replace(RECIPE.duplicates, max_distance=16)
    wide = dataclasses.replace(RECIPE, stages=(*RECIPE.stages, HASHED), duplicates=near)
    request = BuildRequest((str(photos / "list.csv"), text), tmp_path / "out", wide, engine="inline")
    build(request)
    rows = pd.read_parquet(tmp_path / "out" / "manifest.parquet")
    made = rows[rows["synthetic"]]
    assert made["status"].eq("kept").all()
    assert made["note_phash"].str.len().eq(16).all()
