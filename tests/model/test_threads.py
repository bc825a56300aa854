"""PyTorch's threads leave a processor that others use too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SEEN = """
import os, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"))
sys.meta_path.insert(0, Finder())
import spherehead.model.store
"""


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_waiting_threads_soon_sleep_unless_the_user_says_how_they_wait(chosen: dict[str, str], seen: str) -> None:
    plain = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    told = subprocess.run(
        [sys.executable, "-c", SEEN], env=plain | chosen, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert told.split() == [seen]
