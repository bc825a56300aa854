"""How many untouched heads the quality stage refuses, by group, and how many degraded ones it catches, by cause and strength.

    python tests/bench/quality_truth.py --cache FOLDER [--people 100] [--seed 8008] [--every 1] [--photos DIR]
        [--scores FILE.csv] [--networks DIR]

Rendered people with grown hair stand for untouched photographs: supersampled, then as soft, noisy and compressed as a camera
leaves them (`taken`). Degradations come before the camera's noise where a lens makes them and after it where software does.
Limits are judged as the stage has them; nothing is learned here. With --photos, heads of real photographs are degraded instead.
Shares of groups stand with their 95 % intervals (Wilson 1927): the three views of a person are not independent, so that true
intervals are wider.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.kernels import disk, line
from spherehead.datasets.sample import Crop, Drop, Photo, Sample
from spherehead.manifests.identity import rng
from spherehead.pipeline.annotators.heads.parser import HeadParser
from spherehead.pipeline.annotators.heads.parsing import parse_crop
from spherehead.pipeline.annotators.heads.strengths import StrengthReader
from spherehead.pipeline.stages import quality
from spherehead.pipeline.stages.align import Align
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.stages.matte import Matte
from spherehead.pipeline.stages.parse import Parse
from spherehead.pipeline.synthetic import source as synthetic
from spherehead.pipeline.synthetic.assets.library import open_assets
from spherehead.pipeline.synthetic.people.population import Person, draw_person
from spherehead.pipeline.synthetic.people.settings import PopulationSettings

Change = Callable[[np.ndarray], np.ndarray]
VIEWS = 3
GROUPS = ("side", "sex", "age", "skin", "tone", "hair", "beard")
TONES = ((90.0, "dark"), (150.0, "middle"), (256.0, "light"))
"""Median luma of the skin in the rendered picture, light and shade in it."""


@dataclass(frozen=True)
class Head:
    """One head before any camera: what it is, and its exact labels."""

    name: str
    groups: dict[str, str]
    image: np.ndarray
    mask: np.ndarray | None
    parsing: np.ndarray | None
    camera: Camera | None


def settings_of(people: int, seed: int, size: int) -> synthetic.MakeHumanSettings:
    """Return what is rendered."""
    wanted = PopulationSettings(hair="grown", children=True)
    return synthetic.MakeHumanSettings(
        count=people, views=VIEWS, seed=seed, size=size, light="raster", samples=1, people=wanted
    )


def groups_of(person: Person, camera: Camera) -> dict[str, str]:
    """Return the groups that a person in a view belongs to."""
    growth = person.growth
    look = None if growth is None else growth.hair
    hair = "none" if look is None else "tied" if look.tie else "curly" if look.curl else "long" if look.back > 12.0 else "short"
    child = any("-child" in name for name in person.shape)
    return {
        "side": "behind" if abs(np.degrees(camera.yaw)) > 110 else "side" if abs(np.degrees(camera.yaw)) > 60 else "front",
        "sex": "woman" if person.male < 0.5 else "man",
        "age": "child" if child else "young" if person.age < 0.35 else "older",
        "skin": ("african", "asian", "caucasian")[int(np.argmax(person.ancestry))],
        "hair": hair,
        "beard": "beard" if growth is not None and growth.beard is not None else "none",
    }


def tone_of(image: np.ndarray, parsing: np.ndarray) -> str:
    """Return how light the skin is in a rendered picture."""
    skin = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[np.isin(parsing, [INDEX["skin"], INDEX["nose"], INDEX["neck"]])]
    if skin.size < 0.01 * parsing.size:
        return "unseen"
    return next(name for most, name in TONES if np.median(skin) < most)


def rendered(people: int, seed: int, size: int, cache: Path) -> Iterator[Head]:
    """Return rendered heads, each view kept in the cache folder."""
    settings, assets = settings_of(people, seed, size), open_assets(None)
    folder = cache / f"quality-seed{seed}-size{size}"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(people):
        person = draw_person(assets, seed, number, settings.people)
        for view in range(VIEWS):
            turn = synthetic.turn_of(settings, person.name, view)
            path = folder / f"{person.name}-{view}.npz"
            if not path.is_file():
                files = synthetic.render_view(settings, "", person.name, view, turn)
                kept = {name: np.frombuffer(files[name], dtype=np.uint8) for name in ("picture", "mask", "parsing")}
                data = io.BytesIO()
                np.savez(data, **kept)
                path.write_bytes(data.getvalue())
            with np.load(path) as kept:
                image, mask, parsing = (
                    cv2.imdecode(kept[name], cv2.IMREAD_UNCHANGED) for name in ("picture", "mask", "parsing")
                )
            camera = Camera.look_at(*turn)
            image = np.ascontiguousarray(image[..., ::-1])
            groups = {**groups_of(person, camera), "tone": tone_of(image, parsing)}
            yield Head(path.stem, groups, image, mask, parsing, camera)


def taken(
    clean: np.ndarray, random: np.random.Generator, optics: Change | None, software: Change | None, level: int
) -> np.ndarray:
    """Return a picture as a camera stores it: soft by 0.45 to 0.75 px, with noise of 1 to 2.5 levels.

    Args:
        clean: (S, S, 3) uint8.
        random: what all that is drawn from.
        optics: what happens before the camera's own softness.
        software: what happens to the camera's file, which is then of quality 95.
        level: JPEG quality of the camera's file where no software comes after it; 0 for one of 85 to 95.
    """
    picture = (clean if optics is None else optics(clean)).astype(np.float32)
    picture = cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.45, 0.75)))
    noise = cv2.GaussianBlur(random.standard_normal(picture.shape).astype(np.float32), (0, 0), 0.6) * 1.9
    picture = np.clip(np.rint(picture + float(random.uniform(1.0, 2.5)) * noise), 0, 255).astype(np.uint8)
    quality_of_file = level or int(random.integers(85, 96))
    return jpeg(quality_of_file)(picture) if software is None else software(jpeg(95)(picture))


def jpeg(level: int) -> Change:
    """Return what saves a picture with a JPEG quality."""

    def save(picture: np.ndarray) -> np.ndarray:
        data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, level])[1]
        return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])

    return save


def enlarged(times: float) -> Change:
    """Return what makes a picture smaller and as large as before."""

    def resize(picture: np.ndarray) -> np.ndarray:
        small = cv2.resize(picture, None, fx=1.0 / times, fy=1.0 / times, interpolation=cv2.INTER_AREA)
        return jpeg(92)(cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC))

    return resize


def unsharp(amount: float, sigma: float) -> Change:
    """Return an unsharp mask."""
    return lambda picture: jpeg(92)(cv2.addWeighted(picture, 1 + amount, cv2.GaussianBlur(picture, (0, 0), sigma), -amount, 0))


def smoothed(deviation: float, times: int) -> Change:
    """Return a bilateral filter, applied several times."""

    def smooth(picture: np.ndarray) -> np.ndarray:
        for _ in range(times):
            picture = cv2.bilateralFilter(picture, 9, deviation, deviation)
        return jpeg(92)(picture)

    return smooth


def noisy(deviation: float) -> Change:
    """Return what adds white noise."""

    def add(picture: np.ndarray) -> np.ndarray:
        draw = np.random.default_rng(1).normal(0.0, deviation, picture.shape)
        return jpeg(92)(np.clip(picture + draw, 0, 255).astype(np.uint8))

    return add


CAUSES: dict[str, tuple[Change | None, Change | None]] = {
    "blur, sigma 1": (lambda picture: cv2.GaussianBlur(picture, (0, 0), 1.0), None),
    "blur, sigma 2": (lambda picture: cv2.GaussianBlur(picture, (0, 0), 2.0), None),
    "defocus, disk 2 px": (lambda picture: cv2.filter2D(picture, -1, disk(2.0)), None),
    "defocus, disk 4 px": (lambda picture: cv2.filter2D(picture, -1, disk(4.0)), None),
    "motion, 9 px level": (lambda picture: cv2.filter2D(picture, -1, line(9.0, 0.0)), None),
    "motion, 9 px aslant": (lambda picture: cv2.filter2D(picture, -1, line(9.0, 0.7)), None),
    "enlarged 2 times": (None, enlarged(2.0)),
    "enlarged 4 times": (None, enlarged(4.0)),
    "JPEG 50": (None, None),
    "JPEG 30": (None, None),
    "JPEG 10": (None, None),
    "JPEG 30, then 92": (None, lambda picture: jpeg(92)(jpeg(30)(picture))),
    "bilateral 40, once": (None, smoothed(40.0, 1)),
    "bilateral 75, 3 times": (None, smoothed(75.0, 3)),
    "unsharp 80 %, 1 px": (None, unsharp(0.8, 1.0)),
    "unsharp 200 %, 1.5 px": (None, unsharp(2.0, 1.5)),
    "unsharp 300 %, 2 px": (None, unsharp(3.0, 2.0)),
    "noise 8": (None, noisy(8.0)),
    "noise 15": (None, noisy(15.0)),
}  # fmt: skip
LEVELS = {"JPEG 50": 50, "JPEG 30": 30, "JPEG 10": 10}
"""Causes that are the file's own quality."""
MUST = ("blur, sigma 2", "defocus, disk 2 px", "motion, 9 px level", "motion, 9 px aslant", "enlarged 4 times", "JPEG 30",
        "JPEG 10", "bilateral 75, 3 times", "noise 15")  # fmt: skip
"""Causes of which the stage should catch nine in ten."""


def sample_of(head: Head, picture: np.ndarray, level: int) -> Sample:
    """Return a head as it would reach the quality stage, with the JPEG quality that the file's tables tell."""
    crop = Crop(np.eye(3), picture.shape[0], 0.0, 1.0)
    photo = Photo.of_pixels(picture)
    photo.info = replace(photo.info, jpeg_quality=float(level))
    return Sample("0" * 16, photo, image=picture, mask=head.mask, parsing=head.parsing, crop=crop)


def verdict(sample: Sample, stage: quality.Quality, reader: StrengthReader) -> tuple[str, dict[str, float]]:
    """Return why the pixels of a head are refused, empty where they are not, and every score."""
    scores, face = quality.pixel_scores(sample, reader)
    try:
        quality.judge(scores, stage.pixel_limits(face))
    except Drop as drop:
        return drop.reason, scores
    return "", scores


def photographed(folder: Path) -> Iterator[Head]:
    """Return the crops of the largest heads of photographs, labelled by the pipeline itself."""
    stages = [stage.open() for stage in (Detect(faces="largest"), Align(), Matte(), Parse())]
    for number, path in enumerate(sorted(folder.glob("*.jpg"))):
        pixels = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        sample = Sample("", Photo.of_pixels(pixels, sha256=f"{number:064x}"))
        for stage in stages:
            (sample,) = stage.one(sample, rng(0, sample.id, "bench"))
        yield Head(path.stem, {"side": "photograph"}, sample.image, sample.mask, sample.parsing, None)


def parsed(heads: Iterable[Head]) -> Iterator[Head]:
    """Return rendered heads with class maps that the parser reads off the untouched picture, without a face mesh."""
    reader = HeadParser()
    for head in heads:
        yield replace(head, parsing=parse_crop(reader.read(head.image), head.image, head.mask, None).classes)


def share(count: int, total: int) -> str:
    """Return a count of a total with the 95 % interval of its share (Wilson 1927)."""
    z, part = 1.96, count / max(total, 1)
    middle, half = part + z * z / (2 * total), z * np.sqrt(part * (1 - part) / total + z * z / (4 * total * total))
    low, high = ((middle + side * half) / (1 + z * z / total) for side in (-1, 1))
    return f"{count}/{total} ({100 * max(low, 0.0):.1f} to {100 * high:.1f} %)"


def table(rows: list[dict[str, str]]) -> None:
    """Print refusals of untouched heads by group and reason, and what is caught by cause."""
    plain = [row for row in rows if row["cause"] == ""]
    refused = [row for row in plain if row["reason"]]
    print(f"untouched: {len(refused)} of {len(plain)} refused ({100 * len(refused) / len(plain):.1f} %)", end="; ")
    print(
        ", ".join(
            f"{reason} {sum(row['reason'] == reason for row in refused)}" for reason in sorted({r["reason"] for r in refused})
        )
    )
    for group in GROUPS:
        names = sorted({row[group] for row in plain if group in row})
        parts = [[row for row in plain if row.get(group) == name] for name in names]
        print(
            f"  {group:6s} "
            + ", ".join(f"{n} {share(sum(bool(r['reason']) for r in p), len(p))}" for n, p in zip(names, parts, strict=True))
        )
    for cause in CAUSES:
        part = [row for row in rows if row["cause"] == cause]
        caught = [row["reason"] for row in part if row["reason"]]
        reasons = ", ".join(f"{reason} {caught.count(reason)}" for reason in sorted(set(caught)))
        bar = " (bar 90)" if cause in MUST else ""
        print(f"  {cause:24s} {100 * len(caught) / max(len(part), 1):5.0f} % caught{bar}  {reasons}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--seed", type=int, default=8008)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--parsed", action="store_true", help="class maps of rendered heads by the package's parser, not exact")
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--every", type=int, default=1, help="degrade each n-th head only")
    parser.add_argument("--networks", default="", help="folder with a quality.onnx of your own")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    stage, reader = quality.Quality(), StrengthReader(options.networks)
    heads = (
        photographed(options.photos) if options.photos else rendered(options.people, options.seed, options.size, options.cache)
    )
    rows = []
    for number, head in enumerate(parsed(heads) if options.parsed else heads):
        for cause, (optics, software) in {"": (None, None), **({} if number % options.every else CAUSES)}.items():
            random = rng(0, head.name, "camera")
            level = LEVELS.get(cause, 0)
            if options.photos:
                picture = head.image if optics is None else optics(head.image)
                picture = software(picture) if software is not None else jpeg(level)(picture) if level else picture
            else:
                picture = taken(head.image, random, optics, software, level)
            reason, scores = verdict(sample_of(head, picture, level or 90), stage, reader)
            rows.append({"head": head.name, "cause": cause, "reason": reason, **head.groups, **scores})
    table(rows)
    if options.scores:
        with options.scores.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, sorted({name for row in rows for name in row}))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
