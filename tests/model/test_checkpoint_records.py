"""What a checkpoint's reader makes of objects it does not know, and how files are named by their digests."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import ModuleType

import torch
from spherehead.model.interop.rebuild import Record
from spherehead.model.interop.torch_files import read_checkpoint


def test_persistent_objects_become_records_and_their_source_is_not_run(published: ModuleType, tmp_path: Path) -> None:
    module = published.persistent("Generator", {"z_dim": 4, "deep": {"a": (1, "b")}})
    module.register_parameter("weight", torch.nn.Parameter(torch.ones(2)))
    module.decoder = published.OSGDecoder()
    path = published.write(tmp_path / "checkpoint.pkl", published.easy({"G": module}))
    found = read_checkpoint(path).value["G"]
    assert isinstance(found, Record) and found.name == "Generator" and len(found.source_sha256) == 64
    assert found.state["_init_kwargs"] == {"z_dim": 4, "deep": {"a": (1, "b")}}
    assert torch.equal(found.state["_parameters"]["weight"].tensor(), torch.ones(2))
    assert found.state["_modules"]["decoder"].name == "training.triplane.OSGDecoder"


def test_digest_and_size_are_those_of_the_file(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "some.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    found = read_checkpoint(path)
    assert (found.name, found.num_bytes) == ("some.pkl", path.stat().st_size)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
