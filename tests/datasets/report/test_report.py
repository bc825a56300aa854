"""The report: whole, offline, honest about what is missing, and safe against names that pretend to be HTML."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spherehead.datasets.report.parts import visible
from spherehead.datasets.report.report import ReportSettings, write_report
from spherehead.manifests.store import HEADER, MANIFEST, ORIGINS, ManifestError, read_header, write_json, write_table

SMALL = ReportSettings(random=4, overlays=2, worst=3, worst_scores=2, charts=False, sheets=False)
VOID = frozenset(("meta", "img", "br", "source"))


class Page(HTMLParser):
    """Collects tags and text of a page, and whether every tag is closed where it must be."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def pictures(self) -> list[str]:
        return [attrs["src"] or "" for tag, attrs in self.tags if tag == "img"]


def replace_table(folder: Path, table: pa.Table) -> None:
    """Put another table in a set's place, as a build would: the header speaks of it."""
    digest = write_table(folder / MANIFEST, [table], table.schema)
    write_json(folder / HEADER, dataclasses.replace(read_header(folder), manifest_sha256=digest).sealed())


@pytest.fixture(scope="module")
def report(finished_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the usual finished set, with everything."""
    return write_report(finished_set, tmp_path_factory.mktemp("report"))


def test_page_is_well_formed_and_has_every_section(report: Path) -> None:
    page = Page(report)
    assert page.open == [] and page.wrong == []
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    anchors = {(attrs["href"] or "")[1:] for tag, attrs in page.tags if tag == "a"}
    assert anchors == ids and len(ids) == 10


def test_nothing_in_the_page_points_outside(report: Path) -> None:
    page = Page(report)
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "srcset", "href", "poster", "action"):
            assert (attrs.get(name) or "#").startswith(("data:image/", "#"))
    style = re.search(r"<style>(.*?)</style>", report.read_text(encoding="utf-8"), re.DOTALL)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


def test_every_picture_decodes(report: Path) -> None:
    pictures = Page(report).pictures()
    assert len(pictures) > 40
    for source in pictures:
        kind, data = source.split(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR) is not None


def test_accounting_identity_is_spelled_out(report: Path) -> None:
    text = Page(report).text
    assert "20 inputs = 13 kept + 4 dropped + 1 failed + 1 duplicate + 1 not an image ✓ adds up" in text
    assert "14 kept heads" in text


def test_header_that_disagrees_is_told(finished_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    plain = json.loads((folder / HEADER).read_bytes())
    plain["counts"]["kept"] += 1
    write_json(folder / HEADER, plain)
    assert "kept: header 14, tables 13" in Page(write_report(folder, settings=SMALL)).text


def test_numbers_of_the_set_are_in_the_page(report: Path) -> None:
    text = Page(report).text
    for words in (
        "11 of 84", "3.0× fullest over emptiest", "Lowest pose_confidence", "Highest blur_px", "near_duplicate dropped 1 1",
        "exact_duplicate duplicate 1 0", "blur_px 4.1 > 3", "CC-BY-4.0 A. Painter 1", "not stated", "matte 4.4 0 – ",
        "decode 1.9 16 118.8", "20 inputs worked on in 7.2 s by 2 workers", "train-000002.tar train 2",
        "studio: copy of a.jpg studio: person 0/portrait 0.jpg",
    ):  # fmt: skip
        assert words in text, words


def test_sheets_and_charts_lie_beside_the_page(report: Path) -> None:
    names = {path.name for path in report.parent.glob("*.png")}
    assert {"sheet_random.png", "sheet_views.png", "sheet_overlay.png", "sheet_refused.png", "sheet_worst_blur_px.png"} <= names
    assert {f"chart_{name}.png" for name in ("sphere", "yaw_split", "yaw_source", "roll_split", "scores", "areas")} <= names


def test_report_comes_out_the_same(report: Path, finished_set: Path, tmp_path: Path) -> None:
    assert write_report(finished_set, tmp_path / "again.html", ReportSettings(sheets=False)).read_bytes() == report.read_bytes()


def test_hostile_names_stay_text(finished_sets: ModuleType, tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    views = tuple(dataclasses.replace(view, source=script, license=f"{script}&amp;") for view in finished_sets.VIEWS[:3])
    lost = (
        ("truncated", 'a\nb"><img src=x onerror=alert(2)>.jpg', "cut \u202e\x1b[31m"),
        ("no_head", "{{ 7*7 }}" + "x" * 5000, ""),
    )
    folder = finished_sets.build(tmp_path / "<b>set & 'co'", views=views, lost=lost)
    plain = json.loads((folder / HEADER).read_bytes())
    plain["recipe"]["name"] = plain["environment"]["</pre><script>"] = "</title><script>alert(3)</script>"
    write_json(folder / HEADER, plain)
    page = Page(write_report(folder, tmp_path / "out", dataclasses.replace(SMALL, charts=True)))
    assert page.open == [] and page.wrong == []
    assert all(tag != "script" and "onerror" not in attrs for tag, attrs in page.tags)
    raw = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "\u202e" not in raw and "\x1b" not in raw and "x" * 200 not in raw
    for words in (script, 'a\\nb"><img src=x onerror=alert(2)>.jpg', "\\u202e\\x1b[31m", "{{ 7*7 }}", "<b>set & 'co'"):
        assert words in page.text, words


def test_invisible_signs_are_written_out() -> None:
    assert visible("Zoë 日本 a.jpg") == "Zoë 日本 a.jpg"
    assert visible("a\nb\u202e\ud800\x00") == "a\\nb\\u202e\\ud800\\x00"


def test_empty_set_gives_an_honest_report(finished_sets: ModuleType, tmp_path: Path) -> None:
    page = Page(write_report(finished_sets.build(tmp_path / "none", views=(), lost=())))
    assert page.open == [] and page.wrong == [] and page.pictures() == []
    for words in ("0 inputs = 0 kept", "there is no map", "no kept pictures", "Nothing was refused", "No timing", "No scores"):
        assert words in page.text, words


def test_set_of_refusals_alone_has_a_report(finished_sets: ModuleType, tmp_path: Path) -> None:
    views = tuple(view for view in finished_sets.VIEWS if view.status != "kept" and view.cluster_of < 0)
    text = Page(write_report(finished_sets.build(tmp_path / "lost", views=views), settings=SMALL)).text
    assert "6 inputs = 0 kept + 3 dropped + 1 failed" in text and "pose_unsure" in text


def test_single_sample_has_a_report(finished_sets: ModuleType, tmp_path: Path) -> None:
    page = Page(write_report(finished_sets.build(tmp_path / "one", views=finished_sets.VIEWS[:1], lost=())))
    assert "1 input = 1 kept + 0 dropped" in page.text and "1 kept head." in page.text
    assert "1 of 84" in page.text and len(page.pictures()) > 5


def test_missing_columns_files_and_cameras_are_left_out(finished_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    table = pq.read_table(folder / MANIFEST)
    gone = ["yaw_degrees", "pitch_degrees", "roll_degrees", "weight", "cluster", "license", "reason"]
    gone += [name for name in table.column_names if name.startswith("score_")]
    table = table.drop_columns(gone)
    replace_table(folder, table)
    (folder / "run.json").write_text("{ not JSON")
    shutil.rmtree(folder / "quarantine")
    page = Page(write_report(folder))
    assert "there is no map" in page.text and "No scores" in page.text and "No timing" in page.text
    assert page.open == [] and len(page.pictures()) > 5


def test_damaged_shard_is_told_not_raised(finished_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    for path in folder.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:300])
    page = Page(write_report(folder, settings=dataclasses.replace(SMALL, sheets=True)))
    assert "could not be read; run verify" in page.text and "not readable" in page.text


def test_thumbnail_outside_the_folder_is_not_shown(finished_set: Path, tmp_path: Path) -> None:
    """A damaged table must not lead the report to files elsewhere."""
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    cv2.imwrite(str(tmp_path / "secret.jpg"), np.full((9, 9, 3), 7, np.uint8))
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    row = next(row for row in rows if row["reason"] == "near_duplicate")
    row.update(reason="../..", id="secret")
    replace_table(folder, pa.Table.from_pylist(rows, schema=pq.read_schema(folder / MANIFEST)))
    secret = base64.b64encode((tmp_path / "secret.jpg").read_bytes()).decode()
    assert secret not in write_report(folder, settings=SMALL).read_text(encoding="utf-8")


def test_folder_without_a_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="build-dataset"):
        write_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_a_table_of_another_set_is_not_reported(finished_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    table = pq.read_table(folder / MANIFEST)
    pq.write_table(table.slice(1), folder / MANIFEST)
    with pytest.raises(ManifestError, match=r"not the table that manifest\.json speaks of"):
        write_report(folder)
    assert not (folder / "report").exists()


def test_origins_may_hold_empty_hashes(finished_set: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_set, tmp_path / "set"))
    rows = pq.read_table(folder / ORIGINS).to_pylist()
    for row in rows:
        row["sha256"] = None if row["outcome"] == "not_image" else row["sha256"]
        row["detail"] = None
    schema = pq.read_schema(folder / ORIGINS)
    write_table(folder / ORIGINS, [pa.Table.from_pylist(rows, schema=schema)], schema)
    assert Page(write_report(folder, settings=SMALL)).open == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1280])
def test_page_renders_in_a_browser(report: Path, tmp_path: Path, width: int) -> None:
    """Every picture has pixels, nothing reaches over the window's edge, and no request leaves the file."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    probe = """<script>addEventListener("load", () => { document.title = JSON.stringify({
        pictures: document.images.length, broken: [...document.images].filter((i) => !i.naturalWidth).length,
        wide: document.documentElement.scrollWidth, window: innerWidth,
        requests: performance.getEntriesByType("resource").filter((e) => !e.name.startsWith("data:")).length }); })</script>"""
    text = report.read_text(encoding="utf-8")
    assert text.count("</body>") == 1
    relaxed = text.replace("style-src 'unsafe-inline'", "style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    page = tmp_path / "probe.html"
    page.write_text(relaxed.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900",
        "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode("utf-8")
    title = re.search(r"<title>(\{.*?\})</title>", dom)
    assert title is not None, "the page did not finish loading"
    found = json.loads(title[1].replace("&quot;", '"'))
    assert found["pictures"] == len(Page(report).pictures()) and found["broken"] == 0 and found["requests"] == 0
    assert found["wide"] <= found["window"]
