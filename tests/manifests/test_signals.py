"""A wish to stop comes through, wherever the signal finds the main thread."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import gc, os, signal, sys, time
from spherehead.manifests.signals import Interrupted, StopSignals

def wait(*_):
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        time.sleep(0.001)

class Finalised:
    def __del__(self):
        wait()

try:
    with StopSignals(0.05):
        os.kill(os.getpid(), signal.SIGTERM)
        if sys.argv[1] == "collector":
            gc.callbacks.append(wait)
            gc.collect()
            gc.callbacks.clear()
        elif sys.argv[1] == "finaliser":
            Finalised()
        time.sleep(60)
except Interrupted as stopped:
    print(stopped.signum, flush=True)
"""


@pytest.mark.parametrize("where", ["collector", "finaliser", "plain code"])
def test_an_order_to_stop_is_not_lost(where: str) -> None:
    """Python only reports what is raised in a finaliser or a callback of its collector; the process ended hard after it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, where], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "15\n", "")
