"""The command `invert`, from labelled photographs on: both stages, kept while they run, and what a user is shown of the head.

How a head is found is `inversion`'s affair; photographs become samples in the pipeline. A killed run resumes at the last kept
step, bit-exact.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path

import torch
from torch import Tensor

from ...manifests.config import ConfigError, fingerprint, to_plain
from ...manifests.store import write_bytes, write_json
from ..fetched import HOW_TO_GET, identity_net_if_fetched
from ..generator import Generator
from ..inversion.cameras import angle_between
from ..inversion.encoder import load_encoder, read_record
from ..inversion.encoding import fill
from ..inversion.face_identity import FaceIdentity, comparison
from ..inversion.inverted import (
    FORMAT,
    HEAD,
    RECORD,
    TUNED,
    InversionRecord,
    InversionSettings,
    PhotographResult,
    load_inverted,
    read_inversion,
    write_parts,
)
from ..inversion.objective import Objective
from ..inversion.scores import drift, mask_iou, psnr, suspicions
from ..inversion.search import Guess, Search, Start, Tick, choose_starts
from ..inversion.style_space import style_space
from ..inversion.targets import Targets, targets_of
from ..inversion.tuning import Tuning, judged_cameras, tuned_rows, with_changes
from ..nets.perceptual import PerceptualNet, PerceptualUnavailable, perceptual_net
from ..nets.upsampler import resize
from ..store import GENERATOR, load_generator, read_config, read_tensors, write_part
from .generate import present_settings
from .invert_page import page
from .invert_pictures import (
    MESH,
    PHOTOGRAPHS_SHEET,
    VIDEO,
    VIEWS_FOLDER,
    VIEWS_SHEET,
    Stage,
    write_mesh,
    write_pictures,
    write_turn,
)
from .invert_request import How, Photographs, contents

log = logging.getLogger(__name__)

STATE = "state"
"""What a run that was stopped resumes from; removed when the head is whole."""
KEPT_EVERY = 25
"""Steps between two writings of the state."""
PAGE = "inversion.html"


class _Run:
    """One inversion in its folder."""

    def __init__(self, folder: Path, photographs: Photographs, out: Path, settings: InversionSettings, how: How) -> None:
        device = how.device
        self.folder, self.out, self.settings, self.photographs, self.how = folder, out, settings, photographs, how
        self.rendering = present_settings(folder)
        self.place = torch.device(device)
        self.generator = load_generator(folder).to(self.place).requires_grad_(False)
        shape = self.generator.settings
        self.raw = self.rendering.neural_resolution or shape.neural_resolution
        side = self.rendering.image_resolution or shape.upsampler.resolution
        channels = shape.parsing.channels if shape.parsing else 0
        self.targets = targets_of(photographs.samples, side, self.raw, channels).to(self.place)
        self.perceptual = _perceptual(self.place) if settings.objective.perceptual else None
        self.recognition = identity_net_if_fetched(self.place)
        self.objective = self.objective_of(self.targets)
        self.sha256 = read_config(folder).parts[GENERATOR].sha256
        self.encoder_place = how.encoder_of(self.sha256)
        self.encoder = None if self.encoder_place is None else load_encoder(self.encoder_place, self.sha256).to(self.place)

    def objective_of(self, targets: Targets) -> Objective:
        """Return what is minimised for photographs."""
        own, settings = self.generator.settings.own_ground, self.settings.objective
        return Objective(targets, self.raw, own, self.perceptual, settings, self.recognition)

    @property
    def term(self) -> bool:
        """Whether the descent holds the head to the photographs' identity."""
        return self.recognition is not None and self.how.method != "encode" and self.settings.objective.identity > 0

    def record(self, term: bool) -> InversionRecord:
        """Return the record of a head that is not whole yet, found with the identity term or without."""
        pictures = [[sample.id, contents(sample)] for sample in self.photographs.samples]
        encoder = "" if self.encoder_place is None else read_record(self.encoder_place).part.sha256
        perceptual, plain = self.perceptual is not None, to_plain(self.settings)
        if not term:  # as heads that were found before there was such a term
            plain["objective"].pop("identity")
        mark = fingerprint([self.sha256, pictures, plain, perceptual, self.how.method, encoder])
        identity = comparison(self.recognition, self.targets, self.settings.objective.identity if term else 0.0)
        return InversionRecord(
            FORMAT, self.folder.name, self.sha256, mark, self.settings, perceptual, identity, self.how.method
        )

    def refusal(self, known: InversionRecord) -> str:
        """Say why the inversion in the folder cannot be resumed, and what to do."""
        if known.fingerprint == self.record(term=False).fingerprint:
            return (
                f"{self.out} holds a head found without the identity term; give a new folder to have it, or "
                "--set objective.identity=0 to resume without"
            )
        if self.recognition is None and known.fingerprint == self.record(term=True).fingerprint:
            return f"{self.out} holds a head found with the identity term, whose network is missing; to resume: {HOW_TO_GET}"
        return f"{self.out} holds an inversion of other photographs, by another model or with other settings; give a new folder"

    def state(self, stage: str) -> dict[str, Tensor] | None:
        """Return the kept state of a stage; None where there is none."""
        path = self.out / STATE / f"{stage}.safetensors"
        return read_tensors(path) if path.is_file() else None

    def descend(self, stage: str, work: Search | Tuning, steps: int, tick: Tick | None) -> None:
        """Take all steps of a stage, or those that are left."""
        state = self.state(stage)
        if state is not None:
            work.restore(state)
        while work.done < steps:
            loss = work.step()
            if not math.isfinite(loss):
                raise ConfigError(f"the loss became {loss} in step {work.done} of {stage}; lower its learning rate")
            if tick is not None:
                tick(stage, work.done, steps, loss)
            if work.done % KEPT_EVERY == 0 or work.done == steps:
                write_part(self.out / STATE, stage, work.state())

    def starts(self, tick: Tick | None) -> tuple[Tensor, tuple[Start, ...]]:
        """Return the moves that the cameras begin at; tried once and kept."""
        state = self.state("starts")
        if state is not None:
            rows = zip(*(state[name].tolist() for name in ("photograph", "degrees", "loss", "pitch")), strict=True)
            return state["units"].to(self.place), tuple(Start(int(row), *values) for row, *values in rows)
        space, search = self.space, self.settings.search
        units, tried = choose_starts(self.generator, space, self.targets, self.objective, search, self.rendering, tick)
        columns = {
            "photograph": torch.tensor([start.photograph for start in tried]),
            "degrees": torch.tensor([start.degrees for start in tried], dtype=torch.float64),
            "loss": torch.tensor([start.loss for start in tried], dtype=torch.float64),
            "pitch": torch.tensor([start.pitch for start in tried], dtype=torch.float64),
        }
        write_part(self.out / STATE, "starts", {"units": units, **columns})
        return units, tuple(tried)

    def find(self, tick: Tick | None) -> tuple[Guess, dict[str, Tensor], tuple[Start, ...]]:
        """Run both stages, or ask the encoder; return the guess, the changes of the weights, and what was tried."""
        self.space = style_space(self.generator)
        search = self.settings.search if self.encoder is None else self.settings.search.warm()
        guess = Guess(self.space, self.targets, search)
        if self.encoder is not None:
            fill(guess, self.encoder)
        if self.how.method == "encode":
            return guess.requires_grad_(False), {}, ()
        units, tried = self.starts(tick)
        guess.begin_at(torch.where((units != 0).any(dim=1, keepdim=True), units, guess.units.detach()))
        descent = Search(self.generator, guess, self.objective, self.rendering)
        self.descend("search", descent, descent.steps, tick)
        guess.requires_grad_(False)
        settings, cameras = self.settings.tuning, guess.cameras()
        rows = tuned_rows(cameras, self.targets.angle_error, settings)
        if not rows:
            return guess, {}, tried
        objective = self.objective_of(self.targets.rows(rows))
        tuning = Tuning(self.generator, guess.styles()[rows], cameras[rows], objective, settings, self.rendering)
        self.descend("tuning", tuning, settings.steps, tick)
        return guess, tuning.changes(), tried


def invert(
    folder: Path,
    photographs: Photographs,
    out: Path,
    settings: InversionSettings | None = None,
    how: How | None = None,
    tick: Tick | None = None,
) -> InversionRecord:
    """Find the head that photographs of one person show, and write it with views, a video of a turn, a mesh and a page.

    Args:
        folder: a model's folder.
        photographs: what the pipeline made of the photographs.
        out: folder of the head; one that holds another inversion is refused, one that was stopped resumes.
        settings: how to find it; None for the defaults.
        how: by descent or by an encoder, and what is written; None for the defaults.
        tick: told of every step.

    Returns:
        The record, as written to inversion.json.

    Raises:
        ConfigError: the folder holds another inversion, or a loss is no finite number.
        ModelStoreError, TargetError: the model is not whole, or a sample lacks matte or camera.
    """
    settings, how = settings or InversionSettings(), how or How()
    run = _Run(folder, photographs, out, settings, how)
    record, known = run.record(run.term), read_inversion(out)
    if known is not None and known.fingerprint != record.fingerprint:
        raise ConfigError(run.refusal(known))
    if known is not None and known.parts:
        return _completed(run, known)
    if known is None:
        _refuse_files_of_others(out)
    write_json(out / RECORD, record)
    guess, changes, tried = run.find(tick)
    ws, cameras = guess.styles(), guess.cameras()
    parts = write_parts(out, ws, guess.head, cameras, run.targets.camera, {k: v.cpu() for k, v in changes.items()})
    tuned = with_changes(run.generator, changes) if changes else run.generator
    record = dataclasses.replace(record, starts=tried, photographs=_results(run, guess, tuned))
    if changes:
        others = judged_cameras(settings.tuning).to(run.place)
        record = dataclasses.replace(record, drift=drift(run.generator, tuned, ws[:1], others, run.rendering))
    record = dataclasses.replace(record, files=(*_pictures(run, guess, tuned), PAGE))
    write_bytes(out / PAGE, page(record).encode())  # to be looked at while what follows is made
    more = _more(run, tuned, ws[:1], how.wants_video, how.wants_mesh)
    record = dataclasses.replace(record, files=(*record.files[:-1], *more, PAGE))
    write_bytes(out / PAGE, page(record).encode())
    record = dataclasses.replace(record, parts=parts)
    write_json(out / RECORD, record)
    _forget_state(out)
    return record


def _refuse_files_of_others(out: Path) -> None:
    """Refuse a folder without our record in which a file has the name of one that would be written."""
    parts = [f"{part}.safetensors" for part in (HEAD, TUNED)]
    names = (*parts, PHOTOGRAPHS_SHEET, VIEWS_SHEET, VIEWS_FOLDER, f"{VIDEO}.webm", f"{VIDEO}.webp", MESH, PAGE, STATE)
    there = [name for name in names if (out / name).exists()]
    if there:
        raise ConfigError(
            f"{out} holds {', '.join(there)} but no {RECORD}, and an inversion would write over that; "
            "choose another --out, or move it away"
        )


def _perceptual(device: torch.device) -> PerceptualNet | None:
    """Return the network of the perceptual term; None, with a warning, where its weights are not installed."""
    try:
        return perceptual_net(device)
    except PerceptualUnavailable as missing:
        log.warning("there is no perceptual term: %s", missing)
        return None


def _forget_state(out: Path) -> None:
    """Remove the states of the stages, which a whole head no longer needs."""
    for name in ("starts", "search", "tuning"):
        (out / STATE / f"{name}.safetensors").unlink(missing_ok=True)
    if (out / STATE).is_dir() and not any((out / STATE).iterdir()):
        (out / STATE).rmdir()


@torch.no_grad()
def _results(run: _Run, guess: Guess, tuned: Generator) -> tuple[PhotographResult, ...]:
    """Measure every photograph."""
    ws, cameras, targets, rendering = guess.styles(), guess.cameras(), run.targets, run.rendering
    first, last = (
        generator.synthesise(
            ws,
            cameras,
            neural_resolution=rendering.neural_resolution,
            image_resolution=rendering.image_resolution,
            fade=rendering.fade,
        )
        for generator in (run.generator, tuned)
    )
    assert last.mask is not None
    before, after = psnr(first.image, targets.image, targets.mask), psnr(last.image, targets.image, targets.mask)
    ious = mask_iou(last.mask, resize(targets.mask, last.mask.shape[-1]))
    angles, distances = angle_between(targets.camera, cameras), _identities(run, cameras, last.image)
    prior, found = run.settings.search.camera, []
    for row, sample in enumerate(run.photographs.samples):
        units = guess.units[row]
        error = math.degrees(float(targets.angle_error[row]))
        found.append(
            PhotographResult(
                sample.id, run.photographs.names[row], round(math.degrees(float(angles[row])), 3),
                round(100 * prior.shift * float(units[3:5].norm()), 3),
                round(100 * (math.exp(prior.zoom * float(units[5])) - 1), 3),
                round(float(before[row]), 3), round(float(after[row]), 3), round(float(ious[row]), 4),
                suspicions(sample.record, units, float(after[row]), float(ious[row]), error), distances.get(row),
            )
        )  # fmt: skip
    return tuple(found)


def _identities(run: _Run, cameras: Tensor, image: Tensor) -> dict[int, float]:
    """Return how far the found face is from the photographs', by their rows; nothing where the network was not fetched."""
    if run.recognition is None:
        return {}
    identity = FaceIdentity(run.recognition, dataclasses.replace(run.targets, camera=cameras))
    return {row: round(value, 4) for row, value in zip(identity.rows, identity(image).tolist(), strict=True)}


def _completed(run: _Run, record: InversionRecord) -> InversionRecord:
    """Add to a whole head the turn and the mesh that are asked for by name and are not there yet."""
    names = [Path(name).stem for name in record.files]
    video, mesh = (
        asked is True and stem not in names for asked, stem in ((run.how.video, VIDEO), (run.how.mesh, Path(MESH).stem))
    )
    if not (video or mesh):
        return record
    head = load_inverted(run.out, run.folder, run.how.device)
    more = _more(run, head.generator, head.ws[:1], video, mesh)
    record = dataclasses.replace(record, files=(*record.files[:-1], *more, PAGE))
    write_bytes(run.out / PAGE, page(record).encode())
    write_json(run.out / RECORD, record)
    return record


def _pictures(run: _Run, guess: Guess, tuned: Generator) -> list[str]:
    """Write the photographs and the head from all sides, after every stage that there was; return the names."""
    ws, cameras = guess.styles(), guess.cameras()
    flat = guess.space.styles(torch.zeros_like(guess.head), guess.ground)
    mean = Stage("mean head", run.generator, flat, run.targets.camera)
    found = [Stage("encoded" if run.how.method == "encode" else "search", run.generator, ws, cameras)]
    if tuned is not run.generator:
        found.append(Stage("tuned", tuned, ws, cameras))
    return write_pictures(run.out, run.photographs.names, run.targets, mean, found, run.rendering)


def _more(run: _Run, generator: Generator, head: Tensor, video: bool, mesh: bool) -> list[str]:
    """Write a turn and a mesh where they are wanted; return the names."""
    turn = write_turn(run.out, generator, head, run.rendering) if video else []
    return turn + (write_mesh(run.out, generator, head, run.rendering) if mesh else [])
