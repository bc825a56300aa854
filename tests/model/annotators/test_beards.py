"""Which hair is beard: what a crop tells of it, what is learned from it, and that it leaves all else of a parser as it was."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from spherehead.datasets.shards.tar import write_shard
from spherehead.manifests.config import ConfigError
from spherehead.model.annotators.beards import BeardFit, add_beards, fit, grafted, without_beard
from spherehead.model.annotators.checkpoint import CHECKPOINT, load_average, read, resume, save
from spherehead.model.annotators.losses import beard_loss
from spherehead.model.annotators.networks import BeardHead, ParserNet
from spherehead.model.annotators.parsing import ParserTask, beard_numbers, count_beard
from spherehead.model.annotators.published import begun, load_exported
from spherehead.model.annotators.shown.augmentation import NOT_TOLD, CropSettings, make_crop, told_beard
from spherehead.model.annotators.shown.views import View, Views
from spherehead.model.annotators.training import TrainingSettings, start
from spherehead.pipeline.annotators.heads import files
from spherehead.pipeline.annotators.heads.parser import HeadParser

SIZE, HAIR = 96, INDEX["hair"]
STILL = CropSettings(roll_degrees=0.0, free_roll=0.0, least_scale=1.0, most_scale=1.0001, shift=0.0, others=0.0, occluders=0.0)


def view_of(told: bool = True) -> View:
    """A face of skin with hair above it and a beard on its left lower half, seen from the front."""
    parsing = np.zeros((SIZE, SIZE), dtype=np.uint8)
    parsing[20:80, 20:76] = INDEX["skin"]
    parsing[20:40, 20:76] = parsing[60:76, 24:48] = HAIR
    beard = np.where((parsing == HAIR) & (np.arange(SIZE)[:, None] > 50), np.uint8(255), np.uint8(0))
    image = np.where((parsing == HAIR)[..., None], np.uint8(40), np.uint8(180)) * np.ones(3, dtype=np.uint8)
    mask = np.where(parsing > 0, np.uint8(255), np.uint8(0))
    camera = Camera.look_at(0.0, 0.0)
    return View(image, mask, parsing, camera, None, None, np.asarray(beard) if told else None)


def written(folder: Path, told: bool) -> Views:
    view = view_of(told)
    members = {
        "png": encode_image(view.image, Encoding("png")), "mask.png": encode_grey(view.mask),
        "seg.png": encode_grey(view.parsing), "cam.json": camera_json(view.camera),
    }  # fmt: skip
    if view.beard is not None:
        members["beard.png"] = encode_grey(view.beard)
    write_shard(folder / "a.tar", "train", [(f"view-{number}", members) for number in range(4)])
    return Views([folder])


def drawn(seed: int = 0) -> BeardHead:
    torch.manual_seed(seed)
    beard = BeardHead()
    torch.nn.init.normal_(beard.last.weight, std=10.0)
    torch.nn.init.normal_(beard.last.bias)  # type: ignore[arg-type]
    return beard.eval()


def test_a_crop_tells_of_its_hair_alone_and_a_mirrored_one_the_mirrored_beard() -> None:
    seen = {}
    for seed in range(8):
        crop = make_crop(np.random.default_rng(seed), view_of(), None, STILL)
        hair = crop.classes == HAIR
        assert (crop.beard[hair] >= 0).all() and (crop.beard[~hair] == NOT_TOLD).all()
        rows, columns = np.nonzero(crop.beard == 1)
        seen[bool(columns.mean() > 32.0)] = len(rows)
        assert rows.min() > 32 and (crop.beard[:28][hair[:28]] == 0).all()
    assert set(seen) == {True, False} and abs(seen[True] - seen[False]) < 0.1 * seen[True]


def test_what_hides_a_beard_takes_it_from_the_truth_and_views_of_before_tell_nothing() -> None:
    hidden = 0
    for seed in range(12):
        crop = make_crop(np.random.default_rng(seed), view_of(), None, replace(STILL, occluders=1.0))
        assert (crop.beard[crop.classes == 0] == NOT_TOLD).all()
        whole = make_crop(np.random.default_rng(seed), view_of(), None, STILL)
        hidden += int((whole.beard == 1).sum()) - int((crop.beard == 1).sum())
        of_before = make_crop(np.random.default_rng(seed), view_of(told=False), None, STILL)
        assert (of_before.beard == NOT_TOLD).all() and np.array_equal(of_before.classes, whole.classes)
    assert hidden > 0


def test_skin_amid_a_beard_that_counts_as_hair_counts_as_beard() -> None:
    view = view_of()
    assert view.beard is not None
    parsing, beard = view.parsing.copy(), view.beard.copy()
    for rows in (slice(22, 38, 4), slice(62, 74, 4)):
        parsing[rows, 26:46:4], beard[rows, 26:46:4] = INDEX["skin"], 0
    told = told_beard(beard, parsing, view.parsing)
    assert (told[22:38, 26:46] == 0).all() and (told[62:74, 26:46] == 1).all()


def test_the_loss_is_the_cross_entropy_over_hair_whose_kind_is_told() -> None:
    logits = torch.tensor([[[0.0, 2.0, -3.0, 50.0]]], requires_grad=True)
    loss = beard_loss(logits, torch.tensor([[[1.0, 0.0, 1.0, -1.0]]]))
    expected = (np.log(2.0) + np.log1p(np.exp(2.0)) + np.log1p(np.exp(3.0))) / 3.0
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(gradient[0, 0, 3]) == 0.0
    assert float(beard_loss(logits.detach(), torch.full((1, 1, 4), -1.0))) == 0.0


def test_views_without_the_member_change_nothing_of_what_tells_beards(tmp_path: Path) -> None:
    task = ParserTask(written(tmp_path, told=False), crops=CropSettings(size=64))
    network = task.network().train()
    pictures, truth = task.batch([0, 1])
    terms = task.losses(network, pictures, truth)
    torch.stack(list(terms.values())).sum().backward()
    assert float(terms["beard"].detach()) == 0.0 and float(terms["classes"].detach()) > 0.0
    assert all(weight.grad is not None and not weight.grad.any() for weight in network.beard.parameters())  # type: ignore[union-attr]


def test_numbers_of_beards_are_those_of_counting() -> None:
    wanted = np.array([[1, 1, 0, 0, 0, 0, -1, -1]])
    said = np.array([[True, False, True, False, False, False, True, False]])
    hair = np.array([[True, True, True, False, True, True, True, False]])
    counts = count_beard(hair, said | ~hair, wanted)
    assert counts.tolist() == [1, 4, 2, 1, 4]  # beard on what is no hair counts as wrong
    assert beard_numbers(counts) == {"beard_iou": 0.25, "beard_found": 0.5, "hair_called_beard": 0.25}
    assert not count_beard(hair, said, np.full((1, 8), -1)).any() and beard_numbers(np.zeros(5)) == {}


def test_a_grafted_parser_says_all_else_to_the_bit_and_is_read_back_whole(tmp_path: Path) -> None:
    model, beard = onnx.load(str(files.path_of("parser"))), drawn()
    (tmp_path / "parser.onnx").write_bytes(grafted(model, beard).SerializeToString())
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 3, 256, 256)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"picture": pictures})
        for data in (without_beard(model).SerializeToString(), (tmp_path / "parser.onnx").read_bytes())
    )
    assert len(before) == 2 and all(np.array_equal(one, other) for one, other in zip(before, after, strict=False))
    network = begun(str(tmp_path / "parser.onnx"), "parser")[1].eval()
    with torch.no_grad():
        said = network(torch.from_numpy(pictures))[2].sigmoid().numpy()
    alike = np.corrcoef(said.ravel(), after[2].ravel())[0, 1]  # but for what eight bits round of the features
    assert after[2].std() > 0.02 and alike > 0.95
    assert isinstance(network, ParserNet) and torch.equal(network.beard.last.weight, beard.last.weight)


def test_files_and_runs_of_before_load_and_find_no_beard(tmp_path: Path) -> None:
    model = without_beard(onnx.load(str(files.path_of("parser"))))
    (tmp_path / "parser.onnx").write_bytes(model.SerializeToString())
    network, picture = ParserNet(), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    load_exported(tmp_path / "parser.onnx", network)
    assert float(network.eval()(picture)[2].detach().sigmoid().max()) < 0.02

    task = ParserTask(written(tmp_path / "views", told=True))
    save(tmp_path, "parser", start(task, TrainingSettings()))
    name, _, tensors = read(tmp_path / CHECKPOINT)
    from safetensors.torch import save_file

    old = {key: value for key, value in tensors.items() if "/beard." not in key}
    save_file(old, tmp_path / CHECKPOINT, metadata={"task": name, "images": "16"})
    assert load_average(tmp_path / CHECKPOINT, network) == 16
    assert float(network.eval()(picture)[2].detach().sigmoid().max()) < 0.02
    with pytest.raises(ConfigError, match="without beard"):
        resume(tmp_path, "parser", start(task, TrainingSettings()))


def test_fitting_tells_what_the_features_tell_and_gives_the_same_weights_again() -> None:
    random = np.random.default_rng(1)
    truth = np.where(random.random((24, 1, 1)) < 0.5, np.int8(1), np.int8(0)) * np.ones((24, 128, 128), dtype=np.int8)
    coarse = random.random((24, 64, 32, 32)).astype(np.float16)
    coarse[:, 3] += 2.0 * truth[:, ::4, ::4]
    fine = random.random((24, 48, 64, 64)).astype(np.float16)
    settings = BeardFit(pictures=24, passes=12, batch=8, lr=1e-2)
    beard, again = fit((coarse, fine), truth, settings), fit((coarse, fine), truth, settings)
    assert all(torch.equal(one, other) for one, other in zip(beard.parameters(), again.parameters(), strict=True))
    with torch.no_grad():
        said = beard(torch.from_numpy(coarse).float(), torch.from_numpy(fine).float())[:, 0] > 0.0
    assert float((said.numpy() == (truth == 1)).mean()) > 0.95


def test_added_layers_are_read_by_the_pipeline_and_leave_all_else_to_the_byte(tmp_path: Path) -> None:
    task, shipped = ParserTask(written(tmp_path / "views", told=True)), files.path_of("parser")
    path = add_beards(shipped, task, BeardFit(pictures=2, passes=1, batch=2), tmp_path / "out")
    before, after = (without_beard(onnx.load(str(file))).SerializeToString() for file in (shipped, path))
    assert before == after
    card = files.card("parser", str(tmp_path / "out"))
    assert card["beard"]["added_to"] == hashlib.sha256(shipped.read_bytes()).hexdigest()
    maps = HeadParser(networks=str(tmp_path / "out")).read(np.full((256, 256, 3), 120, dtype=np.uint8))
    assert maps.network == card["sha256"] and maps.beard is not None and maps.beard.shape == (128, 128)


def test_views_without_beards_cannot_teach_them(tmp_path: Path) -> None:
    task = ParserTask(written(tmp_path, told=False))
    with pytest.raises(ConfigError, match=r"beard\.png"):
        add_beards(files.path_of("parser"), task, BeardFit(pictures=1), tmp_path / "out")
