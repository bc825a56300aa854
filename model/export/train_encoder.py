"""The command `train-encoder`: a run of `annotators.training` with an encoder's task, and the finished encoder.

What is learned is `inversion.encoder_task`'s affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...manifests.config import ConfigError
from ..annotators.training import TrainingSettings
from ..annotators.training import train as train_task
from ..inversion.encoder import EncoderRecord, fitting, write_encoder
from ..inversion.encoder_task import EncoderTask, EncoderTaskSettings, known_styles, read_people
from ..inversion.style_space import style_space
from ..store import GENERATOR, load_generator, read_config


@dataclass(frozen=True)
class EncoderRun:
    """What an encoder is trained for, and from what."""

    model: Path
    """The model's folder."""
    out: Path
    """Folder of the run."""
    data: Path | None = None
    """A data set of rendered people, or None."""
    persons: Path | None = None
    """A checkpoint whose table has the styles of the data's people, or None."""
    start: Path | None = None
    """A run of the annotators' head task, or None for ImageNet's features."""
    resolution: int = 128
    """Side in pixels of what the encoder looks at."""
    layers: bool = False
    """W+ and not W."""
    seed: int = 0
    """Of the first weights and of everything drawn."""
    task: EncoderTaskSettings = EncoderTaskSettings()
    """How pictures are drawn."""


def train(asked: EncoderRun, settings: TrainingSettings) -> tuple[int, EncoderRecord | None]:
    """Train an encoder or resume its run; write it once all pictures have been shown.

    Returns:
        How many pictures have been shown, and the encoder's record once it is finished.

    Raises:
        ConfigError: the folder holds a run for another generator, or nobody's style is known.
        ModelStoreError: the model is not whole.
    """
    sha256 = read_config(asked.model).parts[GENERATOR].sha256
    generator = load_generator(asked.model)
    space = style_space(generator)
    people = None if asked.data is None else read_people(asked.data, generator)
    shape = fitting(space, asked.layers, asked.resolution)
    styles = None
    if asked.persons is not None:
        if people is None or asked.data is None:
            raise ConfigError("expected data beside a checkpoint of persons; give the set that shows them")
        styles = known_styles(asked.data, asked.persons, space, people.ids)
    task = EncoderTask(generator, space, sha256, shape, asked.seed, asked.task, people, asked.start, styles)
    progress = train_task(task, settings, asked.out)
    if progress.images < settings.images:
        return progress.images, None
    return progress.images, write_encoder(asked.out, task.whole(progress.average), asked.model.name, sha256, progress.images)
