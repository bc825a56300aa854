"""Guarantees of the rembg wrapper: local weights only, found where rembg looks, and an error that tells what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spherehead.pipeline.backends import rembg_models

onnx = pytest.importorskip("onnx", reason="onnx writes the small model of this test; pip install onnx")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    return tmp_path


def write_red_detector(path: Path, side: int) -> Path:
    """Write a network of U2-Net's shape whose answer is the red channel of its normalised input."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", "from", "to", "axis"], ["y"])],
        "red",
        [helper.make_tensor_value_info("x", kind, [1, 3, side, side])],
        [helper.make_tensor_value_info("y", kind, [1, 1, side, side])],
        [helper.make_tensor(n, onnx.TensorProto.INT64, [1], [v]) for n, v in (("from", 0), ("to", 1), ("axis", 1))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(("name", "side"), [("u2net_custom", 320), ("dis_custom", 1024)])
def test_custom_session_runs_a_local_file(home: Path, name: str, side: int) -> None:
    path = write_red_detector(home / "models" / "mine.onnx", side)
    picture = np.zeros((64, 48, 3), dtype=np.uint8)
    picture[:, 24:, 0] = 255
    chance = rembg_models.Remover(name, str(path)).chance(picture)
    assert chance.shape == (64, 48) and chance.dtype == np.float32
    assert chance[:, :20].max() < 0.1 and chance[:, 28:].min() > 0.9


def test_named_session_finds_its_file_in_both_layouts(home: Path) -> None:
    assert rembg_models.find("u2net") is None
    flat = write_red_detector(home / "u2net.onnx", 320)
    assert rembg_models.find("u2net") == flat
    nested = write_red_detector(home / "models" / "u2net" / "u2net.onnx", 320)
    assert rembg_models.find("u2net") == nested
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    picture[16:, :, 0] = 255
    assert rembg_models.Remover("u2net").chance(picture)[24:].mean() > 0.9


def test_home_follows_rembgs_own_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("U2NET_HOME", raising=False)
    monkeypatch.setenv("REMBG_HOME", str(tmp_path / "rembg"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert rembg_models.candidates("u2net")[0] == tmp_path / "rembg" / "models" / "u2net" / "u2net.onnx"
    monkeypatch.delenv("REMBG_HOME")
    assert rembg_models.candidates("u2net")[0] == tmp_path / "data" / "rembg" / "models" / "u2net" / "u2net.onnx"
    from rembg.sessions.u2net import U2netSession

    assert str(rembg_models.candidates("u2net")[0].parent) == U2netSession.model_dir()
    assert str(rembg_models.candidates("u2net")[1].parent) == U2netSession.legacy_home()


def test_absent_weights_are_an_error_that_says_what_to_do_and_nothing_is_downloaded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(rembg_models.MissingWeights) as caught:
        rembg_models.Remover("isnet-general-use")
    text = str(caught.value)
    assert str(home / "models" / "isnet-general-use" / "isnet-general-use.onnx") in text
    assert "spherehead models fetch isnet-general-use" in text


@pytest.mark.parametrize("name", sorted(rembg_models.REFUSED))
def test_sessions_that_upload_or_give_no_matte_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        rembg_models.locate(name)


def test_custom_session_without_a_file_is_refused(home: Path) -> None:
    with pytest.raises(ValueError, match="'weights'"):
        rembg_models.locate("dis_custom")
    with pytest.raises(rembg_models.MissingWeights, match=r"absent\.onnx"):
        rembg_models.locate("dis_custom", str(home / "absent.onnx"))
