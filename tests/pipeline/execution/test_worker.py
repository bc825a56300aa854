"""A worker keeps nothing of a file that it is done with."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from spherehead.datasets.sources.folder import FolderSource
from spherehead.pipeline.execution.work import FileResult, Task, WorkOrder
from spherehead.pipeline.execution.worker import Worker
from spherehead.pipeline.recipe import Recipe
from spherehead.pipeline.stages.frame import Frame

HEIGHT, WIDTH = 150, 200
KINDS = ("jpeg", "jpeg_cmyk", "png16", "png_grey_alpha", "gif_alpha", "tiff", "tiff16_associated", "tiff16_planes", "webp")
"""One for each way in which files are read."""
SMALL = HEIGHT * WIDTH // 2
"""Bytes below which neither the file nor its pixels can be among what stays."""


@pytest.fixture
def without_collections() -> Iterator[None]:
    """Memory goes back by its last reference only, while the test runs."""
    gc.collect()
    gc.disable()
    yield
    tracemalloc.stop()
    gc.enable()


def kept_of(worker: Worker, task: Task) -> tuple[FileResult, int]:
    before = tracemalloc.get_traced_memory()[0]
    result = worker.process(task)
    return result, tracemalloc.get_traced_memory()[0] - before


@pytest.mark.usefixtures("without_collections")
def test_neither_a_file_nor_its_pixels_wait_for_the_collector(bad_inputs: ModuleType, tmp_path: Path) -> None:
    import large_pictures

    for name in KINDS:
        (tmp_path / name).write_bytes(large_pictures.made(name, HEIGHT, WIDTH))
    source = FolderSource("pictures", str(tmp_path))
    worker = Worker(WorkOrder((source,), Recipe("test", (Frame(size=64),)).resolved()))
    tasks = [Task(number, 0, image) for number, image in enumerate(source.entries())]
    assert len(tasks) == len(KINDS)
    for task in tasks:  # imports, tables and transforms that stay by intent
        worker.process(task)
    tracemalloc.start()
    kept = {}
    for task in tasks:
        result, kept[task.image.path] = kept_of(worker, task)
        assert result.outcome == "kept", result
        kept[task.image.path] -= len(result.members or b"") + sum(map(len, result.records.values()))
    assert {name: size for name, size in kept.items() if size > SMALL} == {}
