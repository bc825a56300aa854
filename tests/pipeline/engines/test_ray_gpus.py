"""Workers of a cluster share its GPUs, files without use for one leave them alone, and the bytes are those of one machine.

Ray takes GPUs by number without looking for them, so that placement is real here; no model runs on one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from odd_stages import Anywhere, Placed
from spherehead.manifests import store
from spherehead.pipeline.building.build import build
from spherehead.pipeline.building.request import BuildRequest, Summary
from spherehead.pipeline.console.progress import Silent
from spherehead.pipeline.engines.base import EngineError
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

NUM_PHOTOGRAPHS, NUM_MASKED = 24, 16


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of two nodes: one CPU; and four CPUs with two GPUs."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    options = {"object_store_memory": 100 << 20, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0, **options})
    nodes.add_node(num_cpus=4, num_gpus=2, object_store_memory=100 << 20)
    yield nodes.address
    nodes.shutdown()


@pytest.fixture
def sources(tmp_path: Path) -> tuple[str, str]:
    """Photographs, and a list of pictures whose masks are known."""
    for folder in ("photographs", "masked"):
        (tmp_path / folder).mkdir()
    for number in range(NUM_PHOTOGRAPHS + NUM_MASKED):
        picture = np.kron(np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
        folder = "photographs" if number < NUM_PHOTOGRAPHS else "masked"
        cv2.imwrite(str(tmp_path / folder / f"{number}.png"), picture)
    cv2.imwrite(str(tmp_path / "masked" / "mask.PNG"), np.full((80, 80), 255, np.uint8))
    rows = [f"{number}.png,mask.PNG" for number in range(NUM_PHOTOGRAPHS, NUM_PHOTOGRAPHS + NUM_MASKED)]
    (tmp_path / "masked" / "list.csv").write_text("\n".join(["path,mask", *rows]) + "\n")
    return str(tmp_path / "photographs"), str(tmp_path / "masked" / "list.csv")


def recipe(told: Path, seconds: float = 0.0) -> Recipe:
    told.mkdir()
    return Recipe("test", (Frame(size=64), Placed(seconds=seconds), Anywhere(str(told), seconds)), shard_size=16)


def run(sources: tuple[str, ...], out: Path, what: Recipe, observer: Silent | None = None, **options: object) -> Summary:
    return build(BuildRequest(sources, out, what, device="cuda", **options), observer)  # type: ignore[arg-type]


def digests(out: Path) -> dict[str, str]:
    files = sorted([*out.glob("*.tar"), *(out / name for name in (store.MANIFEST, store.ORIGINS))])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def workers_by_gpus(told: Path, samples: int) -> dict[str, set[str]]:
    """Return CUDA_VISIBLE_DEVICES -> process ids of the workers that had a file; every sample left a note of its worker."""
    found: dict[str, set[str]] = defaultdict(set)
    ids = set()
    for path in told.iterdir():
        _, device, gpus, process, id, *_ = path.name.split("|")
        assert device == "cpu"  # the stage that tells uses none
        ids.add(id)
        found[gpus].add(process)
    assert len(ids) == samples
    return dict(found)


class KillsGpuWorker(Silent):
    """Kills the actor of a worker that shares a GPU, after some files."""

    def __init__(self) -> None:
        self.killed = 0

    def done(self, outcome: str, reason: str, seconds: object) -> None:
        for process in () if self.killed else psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "ray_node" in " ".join(process.cmdline()) and process.environ().get("CUDA_VISIBLE_DEVICES"):
                    self.killed = process.pid
                    process.parent().kill()
                    return


@pytest.mark.slow
def test_workers_share_gpus_and_leave_files_without_use_for_one_to_others_and_the_bytes_are_those_of_one_machine(
    cluster: str, sources: tuple[str, str], tmp_path: Path
) -> None:
    what = recipe(tmp_path / "told-local")
    assert run(sources, tmp_path / "local", what, workers=2).counts["kept"] == NUM_PHOTOGRAPHS + NUM_MASKED
    expected = digests(tmp_path / "local")
    run(sources, tmp_path / "one", recipe(tmp_path / "told-one"), workers=2, workers_per_gpu=1)
    assert digests(tmp_path / "one") == expected

    killer = KillsGpuWorker()
    options = {"engine": "ray", "ray_address": cluster, "workers": 0}
    summary = run(sources, tmp_path / "two", recipe(tmp_path / "told-two", 0.2), killer, **options)
    assert summary.counts["kept"] == NUM_PHOTOGRAPHS + NUM_MASKED and killer.killed
    assert digests(tmp_path / "two") == expected
    found = workers_by_gpus(tmp_path / "told-two", NUM_PHOTOGRAPHS + NUM_MASKED)
    assert set(found) == {"", "0", "1"}  # one worker without a GPU, four with half of one, one of which is replaced
    assert len(found[""]) == 1 and max(len(found["0"]), len(found["1"])) <= 3
    assert 3 <= len(found["0"] | found["1"]) <= 5  # one that is killed or comes up late may have told nothing

    run(
        sources,
        tmp_path / "few",
        recipe(tmp_path / "told-few"),
        engine="ray",
        ray_address=cluster,
        workers=2,
        workers_per_gpu=1,
    )
    assert digests(tmp_path / "few") == expected
    few = workers_by_gpus(tmp_path / "told-few", NUM_PHOTOGRAPHS + NUM_MASKED)
    assert set(few) in ({"0"}, {"1"}, {"0", "1"}) and sum(map(len, few.values())) in (1, 2)  # the first may do it all


@pytest.mark.slow
def test_files_without_use_for_a_gpu_take_none(cluster: str, sources: tuple[str, str], tmp_path: Path) -> None:
    what = recipe(tmp_path / "told", 0.1)
    summary = run(sources[1:], tmp_path / "out", what, engine="ray", ray_address=cluster, workers=0)
    assert summary.counts["kept"] == NUM_MASKED
    found = workers_by_gpus(tmp_path / "told", NUM_MASKED)
    assert set(found) == {""} and 2 <= len(found[""]) <= 5


@pytest.mark.slow
def test_without_gpus_the_build_ends_with_what_is_missing_and_files_that_take_none_are_built(
    sources: tuple[str, str], tmp_path: Path
) -> None:
    options = {"engine": "ray", "ray_address": "local", "workers": 1}
    with pytest.raises(
        EngineError, match=r"for --device cuda \(stages placed\), found 1 CPUs and 0 GPUs on 1 in all; add nodes"
    ):
        run(sources[:1], tmp_path / "photographs-built", recipe(tmp_path / "told"), **options)
    masked = recipe(tmp_path / "told-masked")
    assert run(sources[1:], tmp_path / "masked-built", masked, **options).counts["kept"] == NUM_MASKED
