"""Inversion against rendered truth: held-out people from one photograph, scored at the input and at hidden views all around.

    python tests/bench/inversion.py RUN --cache DIR [--people 24] [--sides front,back,profile] [--own 4] [--set NAME=VALUE]
        [--encoder DIR] [--from-mean] [--table]

People are rendered once into the cache (raster light, the same for all views of a person), results and heads are kept there by
person and side, so that the command resumes; sides come one after another, so that a stopped run has all people of the first
ones, and --table prints what is finished. The camera that an inversion starts from is read off the picture by the pipeline
head network; the crop's place is exact. Baselines see the true camera: the mean head, and the person of the run's table whose
picture is nearest to the input (by the inversion's own objective). PSNR and perceptual distance count inside the true mask,
depth where both have a head. `encoded` is what an encoder reads off the picture (the shipped one, unless --encoder names
another), from which the search starts unless --from-mean says otherwise. Own samples of the generator start from a camera that
is turned by 4 degrees. Identity is the distance of the face from the truth's at views from in front, by the network that
`spherehead models fetch identity` brings. The objective has its term where the network is there; --set objective.identity=0
finds and continues results of before there was one, and --table measures identity on their kept heads.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inversion_truth import HIDDEN, MEASURES, SIDES, Scorer, Truth, known_mean, rendered, sample
from safetensors.torch import save_file
from spherehead.datasets.camera import RADIUS, Camera, canonical_intrinsics
from spherehead.datasets.report.tiles import fit, write_png
from spherehead.manifests.config import fingerprint, override, to_plain
from spherehead.manifests.store import file_sha256
from spherehead.model.evaluation.known_persons import TABLE
from spherehead.model.export.generate import find_model
from spherehead.model.fetched import identity_net_if_fetched
from spherehead.model.generator import Generator
from spherehead.model.inversion.cameras import angle_between
from spherehead.model.inversion.encoder import HeadEncoder, load_encoder, read_record
from spherehead.model.inversion.encoding import fill
from spherehead.model.inversion.inverted import InversionSettings
from spherehead.model.inversion.objective import Objective, total
from spherehead.model.inversion.scores import psnr
from spherehead.model.inversion.search import Guess, Search, choose_starts
from spherehead.model.inversion.style_space import StyleSpace, style_space
from spherehead.model.inversion.targets import Targets, error_of_spread, targets_of
from spherehead.model.inversion.tuning import Tuning, tuned_parameters, tuned_rows, with_changes
from spherehead.model.nets.perceptual import perceptual_net
from spherehead.model.nets.upsampler import resize
from spherehead.model.shipped import shipped_encoder
from spherehead.model.store import load_generator, read_tensors
from spherehead.model.visualization.pictures import sheet
from spherehead.model.visualization.views import head_styles, look_from, ring, seeded_latents, to_pixels


def read_camera(picture: np.ndarray) -> tuple[torch.Tensor, float]:
    """Return the (1, 25) label that the pipeline's head network reads off a picture, and its expected error.

    As in the pipeline, it looks once to find the head and once at the square that it was trained on.
    """
    from spherehead.pipeline.annotators.heads.reader import HeadReader, next_square, whole

    reader = HeadReader()
    reading = reader.read(picture, next_square(reader.read(picture, whole(picture))))
    rotation = reading.rotation.T
    cam2world = np.eye(4)
    cam2world[:3, :3] = rotation
    cam2world[:3, 3] = -RADIUS * rotation[:, 2]
    spread = max(reading.spread, reading.mirror_error / 4.0)
    return torch.from_numpy(Camera(cam2world, canonical_intrinsics()).label())[None], error_of_spread(spread)


def found_head(
    generator: Generator, space: StyleSpace, targets: Targets, objective: Objective, settings: InversionSettings,
    encoder: HeadEncoder | None = None,
) -> tuple[Guess, Generator]:  # fmt: skip
    """Run both stages, from the mean head or from an encoder's answer."""
    guess = Guess(space, targets, settings.search if encoder is None else settings.search.warm())
    if encoder is not None:
        fill(guess, encoder)
    units, _ = choose_starts(generator, space, targets, objective, settings.search)
    guess.begin_at(torch.where((units != 0).any(dim=1, keepdim=True), units, guess.units.detach()))
    search = Search(generator, guess, objective)
    while search.done < search.steps:
        search.step()
    guess.requires_grad_(False)
    if not tuned_rows(guess.cameras(), targets.angle_error, settings.tuning):
        return guess, generator
    tuning = Tuning(generator, guess.styles(), guess.cameras(), objective, settings.tuning)
    while tuning.done < settings.tuning.steps:
        tuning.step()
    return guess, tuning.generator.requires_grad_(False)


@torch.no_grad()
def nearest(generator: Generator, table: torch.Tensor, objective: Objective, label: torch.Tensor, ground: torch.Tensor) -> int:
    """Return the row of the table whose picture the objective likes best."""
    losses = []
    for style in table:
        ws = torch.cat([style.expand(1, generator.backbone.num_ws, -1), ground], dim=1)
        losses.append(float(total(objective(generator.synthesise(ws, label)))))
    return int(np.argmin(losses))


def persons(folder: Path, generator: Generator) -> torch.Tensor | None:
    """Return the (P, w_dim) style vectors of the run's people, where it has a table."""
    path = folder / TABLE
    return read_tensors(path)["styles"] if path.is_file() and generator.settings.own_ground else None


def one_case(
    asked: argparse.Namespace, generator: Generator, space: StyleSpace, table: torch.Tensor | None, truth: Truth, side: str,
    settings: InversionSettings, encoder: HeadEncoder | None, kept: Path,
) -> dict[str, object]:  # fmt: skip
    """Invert one person from one side, keep the head's tensors in a file and score everything."""
    net, row, recognition = perceptual_net(torch.device("cpu")), list(SIDES).index(side), identity_net_if_fetched("cpu")
    scorer = Scorer(truth, generator, net, recognition)
    shape = generator.settings
    start, error = read_camera(truth.image[row])
    channels = shape.parsing.channels if shape.parsing else 0
    exact = targets_of([sample(truth, row)], scorer.side, scorer.raw, channels, [error])
    targets = Targets(exact.ids, exact.image, exact.mask, start, exact.angle_error, exact.parsing)
    objective = Objective(targets, scorer.raw, shape.own_ground, net, settings.objective, recognition)
    cpu, wall = time.process_time(), time.perf_counter()
    guess, tuned = found_head(generator, space, targets, objective, settings, None if asked.from_mean else encoder)
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    ws, ground = guess.styles(), torch.zeros(1, space.ground_size)
    read, cpu = Guess(space, targets), time.process_time()
    if encoder is not None:
        fill(read, encoder)
        spent["cpu encoded"] = time.process_time() - cpu
    labels = (start, guess.cameras(), read.cameras().detach())
    degrees = [math.degrees(float(angle_between(label, exact.camera)[0])) for label in labels]
    heads = {"mean head": (generator, space.styles(torch.zeros(space.size), ground))}
    if table is not None:
        behind = space.styles(torch.zeros(space.size), ground)[:, -1:]
        chosen = table[nearest(generator, table, objective, exact.camera, behind)]
        heads["nearest person"] = (generator, torch.cat([chosen.expand(1, generator.backbone.num_ws, -1), behind], dim=1))
    if encoder is not None:
        heads["encoded"] = (generator, read.styles().detach())
    heads |= {"search": (generator, ws), "tuned": (tuned, ws)}
    changes = {name: value - dict(generator.named_parameters())[name] for name, value in tuned_parameters(tuned).items()}
    styles = {f"ws {name}": ws.clone() for name, (_, ws) in heads.items()}
    save_file(
        styles | {f"change {name}": value.half().contiguous() for name, value in changes.items() if bool(value.any())}, kept
    )
    scores = {name: scorer(network, styles, row) for name, (network, styles) in heads.items()}
    if asked.sheets:
        picture_rows(asked.sheets, truth, side, heads)
    return {
        "side": side,
        "trusted": math.degrees(error),
        "camera start": degrees[0],
        "camera found": degrees[1],
        "camera encoded": degrees[2],
        "scores": scores,
        **spent,
    }


@torch.no_grad()
def picture_rows(folder: Path, truth: Truth, side: str, heads: dict[str, tuple[Generator, torch.Tensor]]) -> None:
    """Write the truth above what was found, from the input camera and eight hidden ones."""
    chosen = [list(SIDES).index(side), *range(len(SIDES), len(SIDES) + HIDDEN, 2)]
    rows = [[fit(truth.image[index], 96) for index in chosen]]
    for generator, ws in heads.values():
        made = [generator.synthesise(ws, truth.labels[index : index + 1]).image for index in chosen]
        rows.append([fit(to_pixels(image)[0], 96) for image in made])
    number = len(list(folder.glob(f"{side}-*.png"))) if folder.is_dir() else 0
    titles = [side, *(f"hidden {index}" for index in range(len(chosen) - 1))]
    write_png(folder / f"{side}-{number:02d}.png", sheet(rows, ["truth", *heads], titles))


def own_samples(
    generator: Generator, space: StyleSpace, count: int, settings: InversionSettings,
    encoder: HeadEncoder | None,
) -> Iterator[str]:  # fmt: skip
    """Find drawn heads again, from a camera that is off by 4 degrees; yield a line each."""
    net, cameras = perceptual_net(torch.device("cpu")), ring(HIDDEN, 0.1)
    for seed in range(5_000_000, 5_000_000 + count):
        z = seeded_latents([seed], generator.settings.z_dim)
        ws, camera = head_styles(generator, z), look_from([0.2], 0.05)
        with torch.no_grad():
            seen = generator.synthesise(ws, camera)
            truth = torch.cat([generator.synthesise(ws, label).image for label in cameras.split(1)])
        assert seen.mask is not None
        mask = resize(seen.mask, seen.image.shape[-1]).clamp(0, 1)
        wrong = look_from([0.2 + math.radians(4.0)], 0.05)
        targets = Targets((str(seed),), seen.image, mask, wrong, torch.tensor([math.radians(4.0)]), seen.parsing)
        raw = generator.settings.neural_resolution
        objective = Objective(
            targets, raw, generator.settings.own_ground, net, settings.objective, identity_net_if_fetched("cpu")
        )
        begun = time.process_time()
        guess, tuned = found_head(generator, space, targets, objective, settings, encoder)
        cpu = time.process_time() - begun
        with torch.no_grad():
            found = [
                torch.cat([network.synthesise(guess.styles(), label).image for label in cameras.split(1)])
                for network in (generator, tuned)
            ]
        values = [float(psnr(images, truth).mean()) for images in found]
        degrees = math.degrees(float(angle_between(guess.cameras(), camera)[0]))
        found_text = f"hidden views {values[0]:.1f} dB after search, {values[1]:.1f} dB tuned"
        yield f"seed {seed}: {found_text}, camera off {degrees:.1f} degrees, {cpu:.0f} s of CPU"


def with_identities(result: dict[str, Any], generator: Generator, truth: Truth, kept: Path) -> dict[str, Any]:
    """Return a result with identity distances, measured on the kept heads where it was stored before they were a measure."""
    recognition, scores = identity_net_if_fetched("cpu"), result["scores"]
    if recognition is None or not kept.is_file() or all("identity" in row["hidden"] for row in scores.values()):
        return result
    scorer, tensors = Scorer(truth, generator, perceptual_net(torch.device("cpu")), recognition), read_tensors(kept)
    changes = {name.removeprefix("change "): value for name, value in tensors.items() if name.startswith("change ")}
    tuned, row = with_changes(generator, changes), list(SIDES).index(result["side"])
    for name, views in scores.items():
        found = scorer.identities(tuned if name == "tuned" else generator, tensors[f"ws {name}"], row)
        for kind, distance in found.items():
            views[kind]["identity"] = distance
    return result


def print_tables(results: list[dict[str, object]]) -> None:
    """Print means by side, input and hidden views."""
    for side in SIDES:
        rows = [row for row in results if row["side"] == side]
        if not rows:
            continue
        names = ("camera start", "camera encoded", "camera found")
        cameras = [[float(row[name]) for row in rows] for name in names]  # type: ignore[arg-type]
        cpu, wall = (statistics.fmean(float(row[name]) for row in rows) for name in ("cpu", "wall"))  # type: ignore[arg-type]
        print(
            f"\n{side}, {len(rows)} people: camera median {statistics.median(cameras[0]):.1f} degrees at the start, "
            f"{statistics.median(cameras[1]):.1f} with the encoder, {statistics.median(cameras[2]):.1f} found "
            f"(means {', '.join(f'{statistics.fmean(values):.1f}' for values in cameras)}); "
            f"{cpu:.0f} s of CPU, {wall:.0f} s of wall clock a photograph"
        )
        print(f"{'':16}{'':8}" + "".join(f"{name:>12}" for name in MEASURES))
        for name in rows[0]["scores"]:  # type: ignore[attr-defined]
            for kind in ("input", "hidden"):
                values = [known_mean([row["scores"][name][kind].get(key, math.nan) for row in rows]) for key in MEASURES]  # type: ignore[index]
                print(f"{name:16}{kind:8}" + "".join(f"{value:12.3f}" for value in values))
        for baseline in [name for name in rows[0]["scores"] if name not in ("search", "tuned")]:  # type: ignore[call-overload]
            gains = [row["scores"]["tuned"]["hidden"]["psnr"] - row["scores"][baseline]["hidden"]["psnr"] for row in rows]  # type: ignore[index]
            better = sum(gain > 0 for gain in gains)
            print(
                f"hidden views above the {baseline} by {statistics.fmean(gains):+.2f} dB, for {better} of {len(gains)} people"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder for rendered people and results")
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--sides", default="front,back,profile")
    parser.add_argument("--own", type=int, default=4, help="own samples to find again")
    parser.add_argument("--assets", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sheets", type=Path, help="folder for pictures of every case")
    parser.add_argument("--encoder", type=Path, help="folder of an encoder; the shipped one unless given")
    parser.add_argument("--from-mean", action="store_true", help="search from the mean head")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--table", action="store_true", help="print tables of finished results and invert nothing")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    folder = find_model(asked.run)
    generator = load_generator(folder).requires_grad_(False)
    settings, space = override(InversionSettings(), asked.changes), style_space(generator)
    asked.cache.mkdir(parents=True, exist_ok=True)
    sha256 = file_sha256(folder / "generator.safetensors")
    place = asked.encoder or shipped_encoder(sha256)
    encoder = None if place is None else load_encoder(place, sha256)
    known = "" if place is None else read_record(place).part.sha256
    plain = to_plain(settings)
    if not settings.objective.identity or identity_net_if_fetched("cpu") is None:
        plain["objective"].pop("identity")  # the name of results from before there was such a term
    mark = fingerprint([sha256, plain, known, asked.from_mean])
    cases = [(number, side) for side in asked.sides.split(",") for number in range(asked.people)]
    paths = {case: asked.cache / f"result-{mark}-{case[0]:03d}-{case[1]}.json" for case in cases}
    if not asked.table:
        for line in own_samples(generator, space, asked.own, settings, None if asked.from_mean else encoder):
            print(line, flush=True)
        table = persons(folder, generator)
        for (number, side), path in paths.items():
            if not path.is_file():
                truth, kept = rendered(asked.assets, number, asked.cache), path.with_suffix(".safetensors")
                case = one_case(asked, generator, space, table, truth, side, settings, encoder, kept)
                path.write_text(json.dumps(case))
            print(f"person {number} {side}: {json.loads(path.read_text())['cpu']:.0f} s", flush=True)
    results = []
    for (number, _), path in paths.items():
        if path.is_file():
            truth = rendered(asked.assets, number, asked.cache)
            results.append(with_identities(json.loads(path.read_text()), generator, truth, path.with_suffix(".safetensors")))
    print_tables(results)


if __name__ == "__main__":
    main()
