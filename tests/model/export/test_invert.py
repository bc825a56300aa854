"""`invert`: files and record of a head, resumed after a stop, refused where the folder holds another, read back whole."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from spherehead.datasets.classes import INDEX
from spherehead.manifests.config import ConfigError, override
from spherehead.model.export.invert import invert
from spherehead.model.export.invert_page import page
from spherehead.model.export.invert_request import How, Photographs, contents
from spherehead.model.export.invert_sheet import heads_picture
from spherehead.model.inversion.encoder import HeadEncoder, fitting, write_encoder
from spherehead.model.inversion.inverted import InversionRecord, InversionSettings, load_inverted, read_inversion
from spherehead.model.inversion.style_space import style_space
from spherehead.model.nets.face_recognition import FaceRecognition
from spherehead.model.shipped import shipped
from spherehead.model.store import GENERATOR, ModelStoreError, read_config

QUICK = override(
    InversionSettings(),
    ["search.steps=2", "search.camera_steps=1", "tuning.steps=2", "tuning.cameras=2", "objective.perceptual=0"],
)
PLAIN = How(mesh=False)


@pytest.fixture(scope="module", autouse=True)
def nothing_fetched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever this machine has: no face recognition network, unless a test brings one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPHEREHEAD_WEIGHTS", str(tmp_path_factory.mktemp("weights")))
        yield


@pytest.fixture(scope="module")
def heads() -> ModuleType:
    return importlib.import_module("small_heads")


@pytest.fixture(scope="module")
def model(heads: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(heads.save(tmp_path_factory.mktemp("model") / "heads", heads.generator()))


@pytest.fixture(scope="module")
def photographs(heads: ModuleType) -> Photographs:
    made = heads.generator()
    return Photographs((heads.photograph(made, 3), heads.photograph(made, 3, 1.0)), ("front <b>.jpg", "side.jpg"))


@pytest.fixture(scope="module")
def done(model: Path, photographs: Photographs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InversionRecord]:
    out = tmp_path_factory.mktemp("inverted") / "head"
    return out, invert(model, photographs, out, QUICK, PLAIN)


def test_record_names_every_file_and_the_state_is_gone(done: tuple[Path, InversionRecord]) -> None:
    out, record = done
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {*record.files, *(entry.file for entry in record.parts.values()), "inversion.json"}
    assert set(record.parts) == {"head", "tuned"}
    assert [row.name for row in record.photographs] == ["front <b>.jpg", "side.jpg"]
    assert read_inversion(out) == record
    html = (out / "inversion.html").read_text()
    assert "front &lt;b&gt;.jpg" in html and "<b>" not in html


def test_head_is_read_back_with_the_tuned_generator(model: Path, done: tuple[Path, InversionRecord], heads: ModuleType) -> None:
    out = done[0]
    head = load_inverted(out, model)
    assert head.ws.shape[0] == head.cameras.shape[0] == 2
    assert torch.equal(head.ws[0, :-1], head.ws[1, :-1])  # one head; only grounds differ
    before, after = dict(heads.generator().named_parameters()), dict(head.generator.named_parameters())
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("backbone"))
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("decoder"))
    other = heads.save(out.parent / "other", heads.generator(1))
    with pytest.raises(ModelStoreError, match="was made with heads"):
        load_inverted(out, other)


def test_a_stopped_run_resumes_to_the_same_bytes(
    model: Path, photographs: Photographs, done: tuple[Path, InversionRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spherehead.model.export.invert.KEPT_EVERY", 1)

    def stop(stage: str, number: int, steps: int, loss: float) -> None:
        if (stage, number) == ("tuning", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        invert(model, photographs, tmp_path / "head", QUICK, PLAIN, stop)
    with pytest.raises(ModelStoreError, match="no finished inversion"):
        load_inverted(tmp_path / "head", model)
    assert (tmp_path / "head" / "state" / "search.safetensors").is_file()
    assert invert(model, photographs, tmp_path / "head", QUICK, PLAIN) == done[1]


def test_a_folder_with_another_inversion_is_refused(
    model: Path, photographs: Photographs, done: tuple[Path, InversionRecord]
) -> None:
    out, record = done
    assert invert(model, photographs, out, QUICK) == record  # nothing is done twice
    with pytest.raises(ConfigError, match="holds an inversion of other photographs"):
        invert(model, photographs, out, override(QUICK, ["search.steps=3"]))
    fewer = Photographs(photographs.samples[:1], photographs.names[:1])
    with pytest.raises(ConfigError, match="give a new folder"):
        invert(model, fewer, out, QUICK)


@pytest.mark.parametrize(
    "name", ["views.png", "views/view-00.png", "photographs.png", "orbit.webm", "head.safetensors", "mesh.glb"]
)
def test_files_of_others_are_left_alone(model: Path, photographs: Photographs, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "head" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(ConfigError, match=f"holds {name.split('/')[0]} but no inversion.json"):
        invert(model, photographs, tmp_path / "head", QUICK, PLAIN)
    assert theirs.read_bytes() == b"theirs" and not (tmp_path / "head" / "inversion.json").exists()


@pytest.mark.parametrize("part", ["mask", "parsing", "camera", "image"])
def test_another_matte_class_map_or_camera_is_another_inversion(photographs: Photographs, part: str) -> None:
    sample = photographs.samples[0]
    other = sample.camera.rolled(0.01) if part == "camera" and sample.camera else getattr(sample, part) ^ 1
    assert contents(dataclasses.replace(sample, **{part: other})) != contents(sample)
    assert contents(dataclasses.replace(sample, **{part: None if part != "image" else other})) != contents(sample)


def test_an_encoders_answer_is_written_like_any_head(
    model: Path, photographs: Photographs, heads: ModuleType, tmp_path: Path
) -> None:
    sha256 = read_config(model).parts[GENERATOR].sha256
    torch.manual_seed(1)
    network = HeadEncoder(fitting(style_space(heads.generator()), resolution=64)).eval()
    write_encoder(tmp_path / "encoder", network, "heads", sha256, 1)
    how = How("encode", tmp_path / "encoder")
    record = invert(model, photographs, tmp_path / "head", QUICK, how)
    assert set(record.parts) == {"head"} and record.drift is None and record.method == "encode"
    assert not any(name.startswith(("orbit", "mesh")) for name in record.files)  # unasked, they take longer than the answer
    html = page(record)
    assert "encoded" in html and "search" not in html and "tuned" not in html and "<video" not in html
    more = invert(model, photographs, tmp_path / "head", QUICK, How("encode", tmp_path / "encoder", video=True))
    assert set(more.files) == {*record.files, "orbit.webm"} and (tmp_path / "head" / "orbit.webm").is_file()
    assert read_inversion(tmp_path / "head") == more and "<video" in (tmp_path / "head" / "inversion.html").read_text()
    assert record.photographs[0].psnr == record.photographs[0].psnr_search
    with pytest.raises(ConfigError, match="holds an inversion"):
        invert(model, photographs, tmp_path / "head", QUICK, How("optimise", tmp_path / "encoder", mesh=False))
    with pytest.raises(ConfigError, match="train-encoder"):
        invert(model, photographs, tmp_path / "other", QUICK, How("encode"))
    with pytest.raises(ConfigError, match="comes with none"):
        invert(model, photographs, tmp_path / "other", QUICK, How(from_encoder=True))


def test_several_heads_lie_on_one_sheet_beside_their_photographs(
    done: tuple[Path, InversionRecord], photographs: Photographs, tmp_path: Path
) -> None:
    row = ("one", photographs.samples[0].image, done[0])
    picture = heads_picture([row, ("two", photographs.samples[1].image, done[0])], 32)
    assert picture.shape[0] > 2 * 32 and picture.shape[1] > 9 * 32
    single = heads_picture([row], 32)
    assert np.array_equal(picture[: single.shape[0]], single)
    with pytest.raises(ModelStoreError, match="no finished inversion"):
        heads_picture([("none", photographs.samples[0].image, tmp_path)])


def test_identities_are_compared_where_the_network_was_fetched(
    model: Path, photographs: Photographs, done: tuple[Path, InversionRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the record says how to get it, and is that of a head from before there was such a term."""
    torch.manual_seed(0)
    net = FaceRecognition().eval().requires_grad_(False)
    assert [row.identity for row in done[1].photographs] == [None, None]
    assert "spherehead models fetch identity" in done[1].identity and "models fetch identity" in page(done[1])
    monkeypatch.setattr("spherehead.model.export.invert.identity_net_if_fetched", lambda device: net)
    skin = np.full((64, 64), INDEX["skin"], dtype=np.uint8)
    front = Photographs((dataclasses.replace(photographs.samples[0], parsing=skin),), photographs.names[:1])
    found = invert(model, front, tmp_path / "with", QUICK, PLAIN)
    assert found.photographs[0].identity is not None and found.photographs[0].identity > 0
    assert "identity term has weight" in found.identity and "<th>identity distance</th>" in page(found)
    without = invert(model, front, tmp_path / "without", override(QUICK, ["objective.identity=0"]), PLAIN)
    assert without.photographs[0].identity is not None and "there is no identity term" in without.identity
    assert without.fingerprint != found.fingerprint
    with pytest.raises(ConfigError, match=r"found without the identity term; .* or --set objective\.identity=0"):
        invert(model, front, tmp_path / "without", QUICK, PLAIN)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="whose network is missing; to resume: spherehead models fetch identity"):
        invert(model, front, tmp_path / "with", QUICK, PLAIN)
    assert invert(model, photographs, done[0], override(QUICK, ["objective.identity=0"])) == done[1]


@pytest.mark.slow
def test_a_head_is_left_as_a_mesh_too(photographs: Photographs, tmp_path: Path) -> None:
    quick = override(QUICK, ["tuning.steps=0"])
    record = invert(shipped("tiny-64"), Photographs(photographs.samples[:1], ("a.jpg",)), tmp_path, quick)
    data = (tmp_path / "mesh.glb").read_bytes()
    assert data[:4] == b"glTF" and "mesh.glb" in record.files
    assert 'href="mesh.glb"' in (tmp_path / "inversion.html").read_text()


def test_page_tells_what_is_suspect(done: tuple[Path, InversionRecord]) -> None:
    record = done[1]
    row = dataclasses.replace(record.photographs[0], suspect=("camera: uncertain <i>",))
    assert "camera: uncertain &lt;i&gt;" in page(dataclasses.replace(record, photographs=(row,)))
    assert "Nothing about" in page(dataclasses.replace(record, photographs=()))
