"""Clusters get as many workers as they have CPUs, and of these as many with a GPU as CPUs and GPUs allow."""

from __future__ import annotations

import pytest
from spherehead.pipeline.engines.cluster_plan import MOST_ON_A_GPU, ClusterPlan, Node, lack_of_gpus, plan_workers

CASES = {
    "one node without GPU": ([Node(16)], 0, 0, (16, 0, 0.0)),
    "one GPU to each CPU": ([Node(4, 4)], 0, 0, (4, 4, 1.0)),
    "four CPUs to a GPU": ([Node(32, 8)], 0, 0, (32, 32, 0.25)),
    "many CPUs to a GPU": ([Node(128, 2)], 0, 0, (128, 2 * MOST_ON_A_GPU, 0.125)),
    "GPUs on one node, CPUs on another": ([Node(8, 2), Node(64)], 0, 0, (72, 8, 0.25)),
    "unequal nodes": ([Node(4, 1), Node(64, 2)], 0, 0, (68, 4 + 16, 0.125)),
    "more GPUs than CPUs": ([Node(2, 8)], 0, 0, (2, 2, 1.0)),
    "GPUs without a CPU": ([Node(0, 4), Node(8)], 0, 0, (8, 0, 0.0)),
    "fewer workers asked for than GPUs": ([Node(32, 8)], 6, 0, (6, 6, 1.0)),
    "one and a half workers asked for a GPU": ([Node(32, 8)], 12, 0, (12, 12, 0.5)),
    "fewer workers asked for, four to a GPU": ([Node(32, 8)], 6, 4, (6, 6, 0.25)),
    "more workers asked for": ([Node(4, 1)], 9, 0, (9, 4, 0.25)),
    "one to a GPU asked for": ([Node(32, 8)], 0, 1, (32, 8, 1.0)),
    "twenty to a GPU asked for": ([Node(64, 2)], 0, 20, (64, 40, 0.05)),
    "more to a GPU than CPUs": ([Node(4, 1)], 0, 20, (4, 4, 0.05)),
    "an empty cluster": ([], 0, 0, (1, 0, 0.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_clusters_get_the_workers_that_their_cpus_and_gpus_allow(name: str) -> None:
    nodes, workers, per_gpu, expected = CASES[name]
    assert plan_workers(nodes, workers, per_gpu) == ClusterPlan(*expected)


@pytest.mark.parametrize("per_gpu", range(1, 65))
def test_as_many_shares_as_were_asked_for_fit_into_a_gpu_as_ray_counts(per_gpu: int) -> None:
    share = plan_workers([Node(64, 1)], 0, per_gpu).gpu_share
    counted = round(share * 10_000)  # Ray's fixed-point numbers have four decimals
    assert counted * per_gpu <= 10_000 < counted * (per_gpu + 1) + per_gpu * (per_gpu + 1)


def test_without_gpus_the_message_says_what_was_expected_what_there_is_and_what_to_do() -> None:
    assert lack_of_gpus([Node(8), Node(0, 2)], "--device cuda (stages detect)") == (
        "expected nodes with a CPU and a GPU for --device cuda (stages detect), found 8 CPUs and 2 GPUs on 2 in all; add "
        "nodes with GPUs (ray start --num-gpus=N where Ray does not find them), or use --device cpu"
    )
