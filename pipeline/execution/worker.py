"""What one process does with one file after the other: read it, take it through the recipe with open models, tell the result.

Which files there are and what becomes of the results is left to `build`; how processes are kept alive, to `engines`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import ExitStack

import cv2
import psutil

from ...datasets.sample import Drop
from ...manifests.config import canonical_json
from ..stage import OpenStage, StageUnavailable
from .file_run import FileRun
from .work import Answer, FileResult, Task, WorkOrder, read_whole


class Worker:
    """The recipe's stages, opened when first needed, and the way of a file through them."""

    def __init__(self, order: WorkOrder) -> None:
        """Prepare for the files of a build; models are not loaded yet."""
        cv2.setNumThreads(1)
        self.order = order
        self.keys = order.recipe.keys()
        self._open: dict[tuple[int, str], OpenStage] = {}
        self._exit = ExitStack()

    def stage(self, index: int, device: str = "cpu") -> OpenStage:
        """Return a stage of the recipe with its models loaded, on the device where it can use one.

        Raises:
            StageUnavailable: its settings, or what they name, do not fit.
        """
        stage = self.order.recipe.stages[index]
        key = index, device if stage.uses_device else "cpu"
        if key not in self._open:
            try:
                opened = stage.open(key[1])
            except StageUnavailable:
                raise
            except ValueError as error:  # of settings or of what they name, and the same for every file
                raise StageUnavailable(f"stage {stage.name} cannot be opened: {error}") from error
            self._exit.callback(opened.close)
            self._open[key] = opened
        return self._open[key]

    def close(self) -> None:
        """Free every model."""
        self._exit.close()
        self._open.clear()

    def process(
        self,
        task: Task,
        ask_memory: Callable[[int], None] = lambda _: None,
        ask: Callable[[str], Answer] = lambda _: Answer(),
    ) -> FileResult:
        """Work on one file. Refusals and exceptions of stages become the result; only signals, crashes and stages that
        cannot be opened escape.

        Args:
            task: which file.
            ask_memory: called with a number of bytes before a large photograph is decoded; may block or raise `Drop`.
            ask: called with the work key; tells what the build knows of this content.
        """
        source = self.order.sources[task.source]
        seconds: dict[str, float] = {}
        started = time.perf_counter()
        try:
            data, sha256, work_key = read_whole(source, task.image)
        except Drop as drop:
            return FileResult("", "", drop.outcome, drop.reason, drop.detail, "read")
        seconds["read"] = time.perf_counter() - started
        if sha256 in self.order.forgotten:
            return FileResult(work_key, sha256, "dropped", "forgotten", "taken down by request", "read")
        opened, known = len(self._open), ask(work_key)
        if known.result is not None:
            return dataclasses.replace(known.result, seconds=tuple(seconds.items()), is_known=True)
        way = FileRun(self, known.records, task, source, data, sha256, ask_memory, seconds)
        outcome, reason, detail, stage, rows = way.walk()
        heads = tuple((row["id"], row["status"], canonical_json(row)) for row in rows)
        return FileResult(
            work_key, sha256, outcome, reason, detail, stage, heads, tuple(seconds.items()),
            psutil.Process().memory_info().rss, way.made, way.packed, tuple(way.thumbs),
            opens=len(self._open) > opened,
        )  # fmt: skip
