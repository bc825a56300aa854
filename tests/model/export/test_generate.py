"""`generate`: one seed one picture whatever else is asked for, a record that says how, and kind refusals."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spherehead import cli
from spherehead.manifests.config import ConfigError, override
from spherehead.manifests.store import file_sha256
from spherehead.model.export.generate import GenerateSettings, find_model, generate, parse_seeds
from spherehead.model.generator import Generator, GeneratorSettings
from spherehead.model.nets.backbone import SynthesisSettings
from spherehead.model.presets import preset
from spherehead.model.store import GENERATOR, ModelConfig, ModelStoreError, write_config, write_part


def small(*changes: str) -> GeneratorSettings:
    settings = override(
        preset("tiny-64"),
        [
            "generator.z_dim=16",
            "generator.w_dim=16",
            "generator.renderer.coarse_samples=6",
            "generator.renderer.fine_samples=6",
            *changes,
        ],
    ).generator
    return dataclasses.replace(settings, backbone=SynthesisSettings(channel_base=256, channel_max=8))


def save(folder: Path, settings: GeneratorSettings, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    entry = write_part(folder, GENERATOR, Generator(settings).state_dict())
    write_config(folder, ModelConfig(1, settings, None, {GENERATOR: entry}))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "heads", small())


def test_the_command_writes_views_sheet_turn_and_record(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [
        "generate",
        "--run",
        str(model),
        "--seeds",
        "2,0",
        "--views",
        "3",
        "--orbit",
        "--resolution",
        "16",
        "--out",
        str(out),
    ]
    assert cli.main(words) == 0
    assert "2 heads of heads, 8 files" in capsys.readouterr().out
    record = json.loads((out / "generate.json").read_text())
    assert record["files"] == [
        *(f"seed-0002/view-{view:02d}.png" for view in range(3)),
        *(f"seed-0000/view-{view:02d}.png" for view in range(3)),
        "sheet.png",
        "orbit.webm",
    ]
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {*record["files"], "generate.json"}
    assert record["sha256"] == file_sha256(model / "generator.safetensors")
    assert (record["settings"]["seeds"], record["settings"]["psi"], record["rendering"]["neural_resolution"]) == (
        [2, 0],
        0.7,
        16,
    )
    assert len(record["cameras"]) == 3 and record["cameras"][0][11] == pytest.approx(2.7)
    assert cv2.imread(str(out / "seed-0002" / "view-01.png")).shape == (64, 64, 3)


def test_a_seed_gives_its_picture_whatever_else_is_asked_for(model: Path, tmp_path: Path) -> None:
    first = GenerateSettings((5,), views=2)
    other = GenerateSettings((0, 5, 9), views=4, orbit=True, frames=3)
    generate(model, tmp_path / "a", first)
    generate(model, tmp_path / "b", other)
    generate(model, tmp_path / "c", first)
    views = [(tmp_path / name / "seed-0005").joinpath(f"view-{view:02d}.png").read_bytes() for name, view in
             (("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 2))]  # fmt: skip
    assert views[0] == views[1] == views[2] and views[3] == views[4] != views[0]
    for name in ("sheet.png", "generate.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_many_heads_go_onto_several_sheets(model: Path, tmp_path: Path) -> None:
    record = generate(model, tmp_path, GenerateSettings(tuple(range(9)), views=1, neural_resolution=8))
    assert [name for name in record.files if "seed" not in name] == ["sheet.png", "sheet-01.png"]


def test_a_run_means_its_newest_whole_checkpoint(tmp_path: Path) -> None:
    settings = small()
    for step in (900, 1000):
        save(tmp_path / "checkpoints" / f"step-{step:08d}", settings, step)
    (tmp_path / "checkpoints" / "step-00001100").mkdir()  # no config.json: not finished
    (tmp_path / "config.json").write_text("{}")
    assert find_model(tmp_path).name == "step-00001000"
    record = generate(tmp_path, tmp_path / "out", GenerateSettings((0,), views=1, neural_resolution=8))
    assert record.model == "step-00001000"


def test_heads_without_a_camera_as_condition_have_a_vector_by_seed(tmp_path: Path) -> None:
    model = save(tmp_path / "model", small("generator.condition_dim=7"))
    record = generate(model, tmp_path / "out", GenerateSettings((0, 1), views=1, neural_resolution=8))
    assert record.condition == "vector of a person by seed"


@pytest.mark.parametrize(
    "text, seeds", [("0-7,12", (*range(8), 12)), ("3", (3,)), (" 5 , 1-2", (5, 1, 2)), ("2-4,3,0", (2, 3, 4, 0)), ("007", (7,))]
)
def test_seeds_are_read(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,", "-3", "1--3", "7-3", "1.5", "0-20000", "²", "99999999999999999999", "1 2"])
def test_other_lists_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_seeds(text)


@given(st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=30))
def test_written_seeds_are_read_back_in_order_once_each(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(dict.fromkeys(seeds))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"views": 0}, "views"),
        ({"psi": 3.0}, "psi"),
        ({"neural_resolution": 4}, "resolution"),
        ({"seeds": ()}, "a seed"),
        ({"pitch_degrees": 90.0}, "pitch"),
    ],
)
def test_settings_beyond_reason_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GenerateSettings(**change)  # type: ignore[arg-type]


def test_view_names_a_mesh_that_is_not_there_before_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from spherehead.model.viewer import page

    monkeypatch.setattr(page, "open_server", lambda *_: pytest.fail("a server was started"))
    assert cli.main(["view", "--mesh", str(tmp_path / "missing.glb")]) == 2
    told = capsys.readouterr()
    assert "missing.glb; expected a GLB, OBJ or PLY file" in told.err and not told.out


def test_no_model_and_no_device_are_told_in_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["generate", "--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: no model in ")
    photograph = tmp_path / "ann.png"
    photograph.write_bytes(b"")
    for command in (
        ["generate", "--run", "nosuch"],
        ["invert", str(photograph), "--out", str(tmp_path / "out"), "--run", "nosuch"],
        ["train", "--init", "nosuch", "--out", str(tmp_path / "run"), "--data", str(tmp_path)],
    ):
        assert cli.main(command) == 2
        said = capsys.readouterr().err
        assert "no model in nosuch" in said and "tiny-128, tiny-64" in said, said
    assert not (tmp_path / "out").exists()
    assert cli.main(["generate", "--run", str(model), "--device", "abacus"]) == 2
    assert capsys.readouterr().err.startswith("error: cannot use device 'abacus'")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ModelStoreError, match="no checkpoint"):
        find_model(tmp_path)
