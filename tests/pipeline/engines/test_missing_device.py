"""A build whose workers lack a GPU or cannot open a stage ends at the first file: what was expected, what came, what to do."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from spherehead.manifests import store
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest
from spherehead.pipeline.console.progress import Silent
from spherehead.pipeline.engines.base import EngineError
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame
from spherehead.pipeline.stages.matte import Matte

RECIPE = Recipe("test", (Frame(size=64), Matte(segmenter="own")))


class Counts(Silent):
    """Counts files that have a result."""

    files = 0

    def done(self, *_: object) -> None:
        self.files += 1


@pytest.mark.parametrize("engine", ["inline", "local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_device_that_workers_lack_ends_the_build_at_once_and_no_file_has_failed(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    options: dict[str, object] = {}
    if engine == "ray":
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 100 << 20, "include_dashboard": False}
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, **small})
        options = {"ray_address": nodes.address}
    (tmp_path / "pictures").mkdir()
    for number in range(6):
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), np.full((80, 80, 3), 40 * number, np.uint8))
    out, counts = tmp_path / "out", Counts()
    request = BuildRequest((str(tmp_path / "pictures"),), out, RECIPE, engine=engine, device="cuda", workers=2, **options)
    try:
        with pytest.raises(EngineError) as caught:
            build(request, counts)
    finally:
        if engine == "ray":
            nodes.shutdown()
    text = str(caught.value)
    assert "expected an ONNX Runtime with CUDA for --device cuda, got one with" in text and "or use device cpu" in text
    assert "Traceback" not in text and counts.files == 0 and not (out / store.HEADER).exists()
    assert engine == "inline" or os.uname().nodename in text


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_a_stage_that_cannot_be_opened_ends_the_build_at_once_and_no_file_has_failed(tmp_path: Path, engine: str) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), np.full((80, 80, 3), 40 * number, np.uint8))
    (tmp_path / "model.onnx").write_text("no model")
    recipe = Recipe("test", (Frame(size=64), Matte(segmenter="onnx", weights=str(tmp_path / "model.onnx"))))
    out, counts = tmp_path / "out", Counts()
    with pytest.raises(EngineError, match=r"stage matte cannot be opened: .* does not load as an ONNX model") as caught:
        build(BuildRequest((str(tmp_path / "pictures"),), out, recipe, engine=engine, workers=1), counts)
    assert "Traceback" not in str(caught.value) and counts.files == 0 and not (out / store.HEADER).exists()
