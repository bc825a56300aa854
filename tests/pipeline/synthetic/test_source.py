"""Rendered people as a source: exact labels, the same bytes whatever the workers, damage told and the rest built."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from spherehead.datasets.arrays import Pixels
from spherehead.datasets.camera import Camera
from spherehead.datasets.sample import SourceImage
from spherehead.datasets.shards.codec import decode_grey, decode_image
from spherehead.datasets.shards.inspect import iterate
from spherehead.datasets.shards.storage import DataError
from spherehead.datasets.shards.verify import verify
from spherehead.datasets.sources.base import SourceError
from spherehead.datasets.streaming.loader import ShardStream, StreamSettings
from spherehead.manifests.config import ConfigError
from spherehead.pipeline import presets
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.synthetic import source as module
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.people.settings import PopulationSettings
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, look
from spherehead.pipeline.synthetic.rendering.exposure import window_of
from spherehead.pipeline.synthetic.rendering.light import Light, draw_light
from spherehead.pipeline.synthetic.shading.surfaces import surfaces_of
from spherehead.pipeline.synthetic.source import SCHEME, MakeHumanSettings, MakeHumanSource, decisive, opened, parse, turn_of

pytest.importorskip("mitsuba", reason="mitsuba is not installed")


@pytest.fixture(scope="session")
def text(makehuman_folder: Path) -> str:
    """A small set."""
    return f"makehuman:count=2,views=2,seed=3,size=96,samples=2,assets={makehuman_folder}"


def views(source: MakeHumanSource) -> list[SourceImage]:
    return [entry for entry in source.entries() if isinstance(entry, SourceImage)]


def test_settings_are_read_and_mistakes_named() -> None:
    asked = parse("makehuman:count=5,seed=2,people.glasses=0.5,people.children=true,background=plain")
    assert (asked.count, asked.seed, asked.people.glasses, asked.people.children) == (5, 2, 0.5, True)
    assert parse("makehuman:") == MakeHumanSettings()
    for text, words in (
        ("makehuman:cuont=5", "count"), ("makehuman:count", "name=value"), ("makehuman:count=0", "1 or more"),
        ("makehuman:variant=fast", "scalar_rgb"), ("makehuman:background=red", "gradient"), ("makehuman:size=big", "size"),
        ("makehuman:people=1,people.glasses=0.5", "people.name=value"), ("makehuman:pitch_degrees=-3", "pitch_degrees of 0"),
        ("makehuman:roll_degrees=-1", "roll_degrees"), ("makehuman:people.glasses=2", "glasses of 0 to 1"),
        ("makehuman:light=raster,denoiser=oidn", "no noise to clean"),
        ("makehuman:views=2,size=64,views=3", "views is given twice"),
        ("makehuman:people.glasses=0,people.glasses=1", "people.glasses is given twice"),
        ("makehuman:people.beards=-1", "beards of 0 to 1"), ("makehuman:people.detail=-1", "detail of 0 or more"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            parse(text)


def test_no_assets_stop_a_build_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="SPHEREHEAD_ASSETS"):
        MakeHumanSource(f"makehuman:assets={tmp_path}")


def test_cameras_go_around_and_keep_the_contract() -> None:
    settings = MakeHumanSettings(views=8)
    cameras = [Camera.look_at(*turn_of(settings, "someone", view)) for view in range(8)]
    for camera in cameras:
        Camera.from_label(camera.label()).check()
    yaws = np.sort([camera.yaw for camera in cameras])
    assert np.diff([*yaws, yaws[0] + 2 * np.pi]).max() < np.radians(70)
    assert np.std([camera.roll for camera in cameras]) > 0.01


def test_fronts_for_each_back_are_as_asked() -> None:
    settings = MakeHumanSettings(views=40, fronts_per_back=9.0)
    yaws = np.abs(
        [Camera.look_at(*turn_of(settings, f"person-{number}", view)).yaw for number in range(50) for view in range(40)]
    )
    fronts, backs = np.degrees(yaws) < 62, np.degrees(yaws) > 118  # roll and pitch turn the camera's own yaw a little
    assert (fronts | backs).all()
    assert fronts.sum() / backs.sum() == pytest.approx(9.0, rel=0.2)  # 200 backs expected, with a standard error of 7 %
    with pytest.raises(ConfigError, match="fronts_per_back of 0 or more"):
        parse("makehuman:fronts_per_back=-1")


def test_a_view_has_exact_labels(text: str) -> None:
    source = MakeHumanSource(text)
    image = views(source)[1]
    picture = decode_image(source.read(image))
    parsing, mask = (decode_grey(source.sidecar(image, kind) or b"") for kind in ("parsing", "mask"))
    camera = Camera.from_label(np.array(json.loads(source.sidecar(image, "camera") or b"")))
    camera.check()
    assert picture.shape == (96, 96, 3)
    figure, _, drawing = module._ready(source.settings, 0)
    again = look(Drawing(figure), camera, 96)
    assert (again.parsing == parsing).mean() > 0.999  # the label is rounded to float32
    assert np.abs(again.mask.astype(int) - mask).mean() < 0.2
    assert drawing.points.shape[1] == 3


def test_the_same_numbers_give_the_same_bytes(text: str) -> None:
    first, second = MakeHumanSource(text), MakeHumanSource(text)
    before = {image.path: first.read(image) for image in views(first)}
    module.render_view.cache_clear()
    module._ready.cache_clear()
    for image in reversed(views(second)):  # in another order
        assert second.read(image) == before[image.path]
    assert len(set(before.values())) == 4


def test_a_longer_set_begins_like_a_shorter_one(makehuman: Assets, text: str) -> None:
    short, long = views(MakeHumanSource(text)), views(MakeHumanSource(text.replace("count=2", "count=3")))
    assert long[: len(short)] == short
    assert draw_person(makehuman, 3, 1).name == short[2].rights.identity
    assert draw_person(makehuman, 3, 1) == draw_person(makehuman, 3, 1)
    assert draw_person(makehuman, 4, 1).shape != draw_person(makehuman, 3, 1).shape


@pytest.mark.parametrize(("yaw", "roll"), [(0.0, 0.0), (0.8, 0.3), (3.0, -0.2)])
def test_the_picture_lies_where_the_label_says(text: str, yaw: float, roll: float) -> None:
    """The shift between Mitsuba's opacity and the exact coverage, by least squares over their gradients: under 0.1 px."""
    settings = parse(text)
    _, studio, drawing = module._ready(settings, 0)
    camera = Camera.look_at(yaw, 0.1, roll)
    light = Light(np.ones((32, 64, 3), dtype=np.float32), None, 0.4)
    mask = look(drawing, camera, 160, 9).mask
    opacity = studio.photograph(camera, light, 160, 64, 1, window_of(mask))[..., 3]
    mask = mask / 255.0
    rows, columns = (ndimage.sobel(mask, axis) / 8.0 for axis in (0, 1))
    gradients = np.column_stack([columns.ravel(), rows.ravel()])
    shift = np.linalg.lstsq(gradients, (mask - opacity).ravel(), rcond=None)[0]
    assert np.abs(shift).max() < 0.1
    assert (np.abs(mask - opacity) > 0.5).mean() < 0.001


WORN = "raster,people.hair=grown,people.wear=drawn,people.shares.turban=0.35,people.shares.beanie=0.35"


@pytest.mark.parametrize("light", ["paths", "raster", WORN])
def test_a_build_is_the_same_for_one_and_two_workers_and_says_that_it_is_rendered(
    text: str, tmp_path: Path, light: str
) -> None:  # fmt: skip
    shards = {}
    for workers, engine in ((1, "inline"), (2, "local")):
        out = tmp_path / str(workers)
        summary = build(BuildRequest((f"{text},light={light}",), out, presets.frames(), workers=workers, engine=engine))
        assert summary.counts["kept"] == 4
        shards[workers] = {path.name: path.read_bytes() for path in sorted(out.glob("*.tar"))}
        rows = pd.read_parquet(out / "manifest.parquet")
        assert rows["synthetic"].all()
        assert set(rows["license"]) == {"CC0-1.0"}
        assert rows.groupby("identity")["parent"].nunique().tolist() == [1, 1]
        assert rows.groupby("identity")["split"].nunique().tolist() == [1, 1]
        made = json.loads(rows["derivation"][0])
        assert made["step"] == "makehuman"
        assert any(name.startswith("skins/") for name in made["assets"])
    assert shards[1] == shards[2]
    assert build(BuildRequest((f"{text},light={light}",), tmp_path / "1", presets.frames(), engine="inline")).worked == 0


def test_a_head_with_a_bad_asset_is_refused_and_the_rest_built(
    makehuman: Assets, makehuman_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "assets"
    shutil.copytree(makehuman_folder, folder)
    brows = draw_person(makehuman, 3, 0).brows
    assert draw_person(makehuman, 3, 1).brows != brows
    (folder / f"{brows}.obj").write_text("v 0 0 0\n")
    text = f"makehuman:count=2,views=1,seed=3,size=64,samples=1,assets={folder}"
    summary = build(BuildRequest((text,), tmp_path / "out", presets.frames(), engine="inline"))
    assert (summary.counts["kept"], summary.counts["failed"]) == (1, 1)
    origins = pd.read_parquet(tmp_path / "out" / "origins.parquet")
    refused = origins[origins["reason"] == "bad_asset"]
    assert len(refused) == 1
    assert f"{Path(brows).name}.obj" in refused["detail"].iloc[0]


def test_raster_light_has_the_labels_of_path_tracing(makehuman_folder: Path) -> None:
    """The same people, cameras and labels; pictures differ, and no sample count is recorded."""
    text = f"{SCHEME}count=1,views=2,size=64,samples=2,seed=5,assets={makehuman_folder}"
    paths, raster = MakeHumanSource(text), MakeHumanSource(f"{text},light=raster")
    for traced, shaded in zip(paths.entries(), raster.entries(), strict=True):
        assert isinstance(traced, SourceImage) and isinstance(shaded, SourceImage)
        for kind in ("camera", "mask", "parsing"):
            assert paths.sidecar(traced, kind) == raster.sidecar(shaded, kind)
        first, second = decode_image(paths.read(traced)).astype(int), decode_image(raster.read(shaded)).astype(int)
        head = decode_grey(paths.sidecar(traced, "mask") or b"") > 250
        assert (first != second).any()
        assert np.abs(first[head].mean(axis=0) - second[head].mean(axis=0)).max() < 40
        assert "samples" not in json.loads(shaded.sidecar["derivation"])
        assert json.loads(shaded.sidecar["derivation"])["light"] == "raster"
        assert shaded.sidecar["renderer"].startswith("spherehead raster")


def test_depth_maps_go_from_the_renderer_to_the_trainer(makehuman_folder: Path, tmp_path: Path) -> None:
    """The surface's distance, in the shard, in the stream and mirrored there; sets without maps are refused."""
    text = f"{SCHEME}count=1,views=2,size=64,light=raster,seed=5,assets={makehuman_folder}"
    for name, source in (("with", f"{text},depth=true"), ("without", text)):
        build(BuildRequest((source,), tmp_path / name, presets.frames(), engine="inline"))
    assert verify(tmp_path / "with", deep=True) == []
    person = draw_person(opened(str(makehuman_folder)), 5, 0, PopulationSettings())
    drawing = Drawing(build_figure(opened(str(makehuman_folder)), person, 64))
    plain = {sample.id: sample.depth for sample in iterate(tmp_path / "with")}
    assert all(sample.depth is None for sample in iterate(tmp_path / "without"))
    for sample in iterate(tmp_path / "with"):
        assert sample.camera is not None and sample.depth is not None
        truth = look(drawing, sample.camera, 64).depth
        known = np.isfinite(truth)
        assert np.array_equal(sample.depth > 0, known) and np.abs(sample.depth - truth)[known].max() < 5.1e-4
    settings = StreamSettings(batch=2, resolution=32, split="train", mirror="both", read_depth=True)
    stream = ShardStream([tmp_path / "with"], settings)
    for number in range(2):
        batch = stream[number]
        assert batch.depth is not None
        for key, depth, mirrored in zip(batch.ids, batch.depth.numpy(), batch.mirrored.tolist(), strict=True):
            expected = plain[key]
            assert expected is not None
            assert np.array_equal(depth[:, ::-1] if mirrored else depth, expected[1::2, 1::2])
    with pytest.raises(DataError, match="depth=true"):
        ShardStream([tmp_path / "without"], settings)


def test_light_of_a_person_lasts_for_all_its_views(makehuman: Assets) -> None:
    """From the same place the k-th view is the first again, and the exposure is the same from every side."""
    settings = MakeHumanSettings(count=1, size=64, light="raster", lighting="person", seed=5)
    figure = build_figure(makehuman, draw_person(makehuman, settings.seed, 0, settings.people))
    drawing = Drawing(figure)
    surfaces, ground = surfaces_of(drawing), np.full((64, 64, 3), 90, np.uint8)
    camera = Camera.look_at(0.4, 0.1)

    def taken(view: int, lighting: str) -> Pixels:
        asked = dataclasses.replace(settings, lighting=lighting)
        return module.shoot(asked, figure, surfaces, drawing, camera, view, ground).image

    assert np.array_equal(taken(0, "person"), taken(7, "person"))
    assert (taken(0, "view") != taken(7, "view")).any()
    light = draw_light(np.random.default_rng(1), steady=True)
    assert light.gain(np.array([0.0, 0.0, 1.0])) == light.gain(np.array([1.0, 0.0, 0.0]))


def test_settings_that_came_later_leave_the_stamp_of_older_sets(makehuman_folder: Path) -> None:
    settings = parse(f"{SCHEME}count=1,assets={makehuman_folder}")
    assert not {"light", "lighting"} & set(decisive(settings))
    assert decisive(dataclasses.replace(settings, light="raster"))["light"] == "raster"
    assert not {"hair", "beards"} & set(decisive(settings)["people"])  # sets of before hair was grown keep their stamp
    grown = dataclasses.replace(settings, people=PopulationSettings(hair="grown"))
    assert decisive(grown)["people"]["hair"] == "grown"
