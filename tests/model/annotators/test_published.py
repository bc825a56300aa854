"""Networks read back from exported files compute what the files do, and training continues from there."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from spherehead.datasets.camera import geodesic
from spherehead.manifests.config import ConfigError
from spherehead.model.annotators.checkpoint import Progress, save
from spherehead.model.annotators.export import onnx_bytes
from spherehead.model.annotators.networks import CROP, NETWORKS, PARSER_CROP, HeadNet, ParserNet
from spherehead.model.annotators.parsing import ParserTask
from spherehead.model.annotators.published import averaged, begun, finished, load_exported, settle
from spherehead.model.annotators.shown.views import Views
from spherehead.model.annotators.tasks import FinderTask
from spherehead.pipeline.annotators.heads import files
from spherehead.pipeline.annotators.heads.reader import rotation_of
from spherehead.pipeline.backends.onnx_session import OnnxModel
from torch import Tensor, nn


def answers(network: nn.Module, pictures: Tensor) -> list[Tensor]:
    with torch.no_grad():
        said = network.raw(pictures) if isinstance(network, HeadNet) else network(pictures)
    return list(said) if isinstance(said, tuple) else [said]


def trained(name: str) -> nn.Module:
    """Return a network whose batch norms are not those of a new one."""
    torch.manual_seed(3)
    network = NETWORKS[name]()
    if isinstance(network, ParserNet):
        nn.init.normal_(network.beard.last.weight)  # which finds no beard at first
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0.0, 0.1)
    return network.eval()


def pictures_of(name: str, count: int = 4) -> Tensor:
    side = PARSER_CROP if name == "parser" else CROP
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 0.6


@pytest.fixture(scope="module")
def views(finished_set: Path) -> Views:
    return Views([finished_set], limit=4)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_file_of_halves_gives_the_network_back(name: str, tmp_path: Path) -> None:
    network, pictures = trained(name), pictures_of(name, 2)
    (tmp_path / f"{name}.onnx").write_bytes(onnx_bytes(name, network))
    task, again = begun(str(tmp_path / f"{name}.onnx"), name)
    assert task == name
    for one, other in zip(answers(network, pictures), answers(again.eval(), pictures), strict=True):
        assert float((one - other).abs().max()) < 3e-3 * float(one.abs().max())


def test_the_shipped_reader_in_eight_bits_reads_the_same_pose_when_read_back(astronaut: np.ndarray) -> None:
    crop = cv2.resize(astronaut[0:260, 95:355], (CROP, CROP), interpolation=cv2.INTER_AREA)
    picture = torch.from_numpy((crop.astype(np.float32) - 127.0) / 128.0).permute(2, 0, 1)[None].contiguous()
    path = files.path_of("head")
    wanted = OnnxModel(path, "cpu")(picture.numpy())[0][0]
    said = answers(begun(str(path), "head")[1].eval(), picture)[0][0].numpy()
    assert geodesic(rotation_of(said[:6]), rotation_of(wanted[:6])) < math.radians(4.0)


def test_the_shipped_parser_in_eight_bits_draws_the_same_classes_when_read_back(astronaut: np.ndarray) -> None:
    crop = cv2.resize(astronaut[0:260, 95:355], (PARSER_CROP, PARSER_CROP), interpolation=cv2.INTER_AREA)
    picture = torch.from_numpy((crop.astype(np.float32) - 127.0) / 128.0).permute(2, 0, 1)[None].contiguous()
    path = files.path_of("parser")
    wanted = OnnxModel(path, "cpu")(picture.numpy())[0][0].argmax(0)
    said = answers(begun(str(path), "parser")[1].eval(), picture)[0][0].numpy().argmax(0)
    assert len(np.unique(wanted)) > 8 and (said == wanted).mean() > 0.95


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_settling_changes_no_answer_and_training_begins_there(name: str, tmp_path: Path) -> None:
    pictures = pictures_of(name)
    (tmp_path / f"{name}.onnx").write_bytes(onnx_bytes(name, trained(name)))
    network = NETWORKS[name]()
    load_exported(tmp_path / f"{name}.onnx", network)
    before = answers(network.eval(), pictures)[-1]
    settle(network, pictures)
    after = answers(network, pictures)[-1]
    size = float(before.abs().max())
    assert float((before - after).abs().max()) < 1e-4 * size
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    assert float((before - answers(network, pictures)[-1]).abs().max()) < 1e-2 * size


def test_a_run_is_begun_from_with_the_average_that_is_judged(tmp_path: Path) -> None:
    network, average = trained("head"), trained("head")
    torch.nn.init.normal_(average.get_parameter("numbers.bias"))
    save(tmp_path, "head", Progress(network, average, torch.optim.AdamW(network.parameters()), images=96))
    wanted, picture = average.state_dict(), pictures_of("head", 1)
    for name, again, *images in (begun(str(tmp_path), "head"), averaged(tmp_path), finished(str(tmp_path))):
        assert name == "head" and images in ([], [96]) and not again.training
        assert all(torch.equal(value, wanted[key]) for key, value in again.state_dict().items())
        assert torch.equal(answers(again, picture)[0], answers(average, picture)[0])


def test_what_is_no_network_of_the_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a run"):
        begun(str(tmp_path), "head")
    with pytest.raises(ConfigError, match="of the task 'finder'; expected head or parser"):
        begun(str(files.path_of("finder")), "head", "parser")
    (tmp_path / "head.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigError, match="expected an ONNX file"):
        begun(str(tmp_path / "head.onnx"), "head")
    (tmp_path / "parser.onnx").write_bytes(files.path_of("finder").read_bytes())
    with pytest.raises(ConfigError, match="has no layer 'encoder"):
        begun(str(tmp_path / "parser.onnx"), "parser")


def test_a_finder_takes_the_encoder_of_a_head_network_and_all_of_a_finder(views: Views) -> None:
    from_head = FinderTask(views, encoder=str(files.path_of("head"))).network().state_dict()
    new = FinderTask(views).network().state_dict()
    assert torch.equal(from_head["maps.weight"], new["maps.weight"])
    assert not torch.equal(from_head["encoder.stem.1.weight"], new["encoder.stem.1.weight"])
    of_file = FinderTask(views, encoder=str(files.path_of("finder"))).network()
    wanted = begun(str(files.path_of("finder")), "finder")[1]
    picture = pictures_of("finder", 1)
    said, file = (answers(network.eval(), picture)[0] for network in (of_file, wanted))
    assert float((said - file).abs().max()) < 1e-3 * float(file.abs().max())


def test_a_parser_takes_what_a_head_network_has_and_all_of_a_parser(views: Views) -> None:
    picture = pictures_of("head", 1)
    head, parser = (begun(str(files.path_of(name)), name)[1].eval() for name in ("head", "parser"))
    from_head = ParserTask(views, start=str(files.path_of("head")), small=64).network().eval()
    from_parser = ParserTask(views, start=str(files.path_of("parser")), small=64).network().eval()
    with torch.no_grad():
        assert isinstance(head, HeadNet)
        np.testing.assert_allclose(from_head(picture)[0], head.raw(picture)[1][:, :-1], atol=2e-3)
        np.testing.assert_allclose(from_parser(picture)[0], parser(picture)[0], atol=2e-3)


def test_networks_of_others_under_the_name_of_a_task_are_refused_in_words(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx writes the small model of this test; pip install onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    sources = [helper.make_tensor_value_info(name, kind, shape) for name, shape in (("x", [1, 3]), ("w", [3, 2]), ("b", [2]))]
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc")  # whose weights are inputs, not in the file
    graph = helper.make_graph([node], "g", sources, [helper.make_tensor_value_info("y", kind, [1, 2])])
    onnx.save(helper.make_model(graph), str(tmp_path / "head.onnx"))
    with pytest.raises(ConfigError, match=r"expected a network that `annotators export` wrote in .*head\.onnx"):
        begun(str(tmp_path / "head.onnx"), "head")
