"""Commands that look into finished data sets: `shards ...`, `manifest ...` and `report`.

What they show comes from `datasets` and `manifests`; nothing here changes a data set.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ..datasets.shown import shown_place
from .common import MISMATCH, OK, DataSet, echo, echo_text, table

if TYPE_CHECKING:
    from ..datasets.report.sheets import Kind

shards = typer.Typer(help="List, show, draw and verify the shards of a data set.", no_args_is_help=True)
manifest = typer.Typer(help="Show, sum up, compare and verify manifests.", no_args_is_help=True)


def report(
    place: DataSet, out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to write it.")] = None
) -> None:
    """Write the report of a data set: one HTML file and its pictures.

    Example: spherehead report heads
    """
    from ..datasets.report.report import write_report
    from ..datasets.shards.mirror import mirrored
    from ..datasets.stores.connection import scheme_of
    from ..manifests.config import ConfigError

    if out is None and scheme_of(place):
        raise ConfigError(f"expected --out DIR for the report of {shown_place(place)}: only builds write into a store")
    try:
        with mirrored(place, refused=True) as folder:
            echo(f"report: {write_report(folder, out)}")
    except OSError as error:
        if out is not None or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise ConfigError(f"{place} cannot be written ({error.strerror}); pass --out DIR for the report") from error


@shards.command("ls")
def shards_ls(
    place: DataSet, check: Annotated[bool, typer.Option("--check", help="Read them and compare sha256.")] = False
) -> None:
    """List the shards with split, samples, bytes and sha256.

    Example: spherehead shards ls heads
    """
    from ..datasets.shards.inspect import list_shards
    from ..datasets.shards.mirror import mirrored

    with mirrored(place) as folder:
        states = list_shards(folder, check)
    rows = [(s.entry.name, s.entry.split, f"{s.entry.count:,}", f"{s.entry.num_bytes:,}", s.entry.sha256) for s in states]
    echo(*table(("shard", "split", "samples", "bytes", "sha256"), rows))
    broken = [state.entry.name for state in states if not state.sound]
    if broken:
        echo(f"error: missing or changed: {', '.join(broken)}", to_error=True)
        raise typer.Exit(MISMATCH)


@shards.command("show")
def shards_show(
    place: DataSet, sample: Annotated[str, typer.Argument(metavar="ID", help="Id, or an unmistakable beginning of it.")]
) -> None:
    """Show all that is known of one sample: its row, members, camera and record.

    Example: spherehead shards show heads 0123
    """
    from ..datasets.shards.inspect import record_text, show
    from ..datasets.shards.mirror import mirrored

    with mirrored(place) as folder:
        shown = show(folder, sample)
    echo_text(record_text(shown.row))
    if shown.members:
        echo(*table(("member", "bytes"), [(name, f"{size:,}") for name, size in shown.members]))
    if shown.angles:
        echo("yaw {:.1f}  pitch {:.1f}  roll {:.1f} degrees".format(*shown.angles))


@shards.command("sheet")
def shards_sheet(
    place: DataSet,
    out: Annotated[Path, typer.Option("--out", metavar="PNG", help="File to write.")] = Path("sheet.png"),
    kind: Annotated[str, typer.Option("--kind", help="random | worst | view | refused | overlay")] = "random",
    count: Annotated[int, typer.Option("--count", min=1, help="Pictures at most.")] = 24,
    side: Annotated[int, typer.Option("--side", min=32, help="Side of a picture, pixels.")] = 160,
    columns: Annotated[int, typer.Option("--columns", min=1, help="Pictures in a row.")] = 6,
    score: Annotated[str, typer.Option("--score", help="Score that `worst` sorts by, such as sharpness.")] = "",
    split: Annotated[str, typer.Option("--split", help="Only this split.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Another seed picks other random pictures.")] = 0,
) -> None:
    """Draw samples as one PNG: at random, the worst, one a direction, the refused, or with their labels drawn on.

    Example: spherehead shards sheet heads --kind overlay --out sheet.png
    """

    from ..datasets.report.sheets import SheetSettings, write_sheet
    from ..datasets.shards.mirror import mirrored

    kinds = ("random", "worst", "view", "refused", "overlay")
    if kind not in kinds:
        raise typer.BadParameter(f"expected one of {', '.join(kinds)}, got {kind!r}", param_hint="--kind")
    settings = SheetSettings(cast("Kind", kind), count, side, columns, seed, score, split)
    with mirrored(place, refused=kind == "refused") as folder:
        echo(f"{write_sheet(folder, out, settings)} pictures in {out}")


@shards.command("verify")
def shards_verify(
    place: DataSet, deep: Annotated[bool, typer.Option("--deep", help="Decode every sample and check every label.")] = False
) -> None:
    """Verify the shards against the manifest: bytes, sha256, counts, members; with --deep pixels and labels.

    Example: spherehead shards verify heads --deep
    """
    from ..datasets.shards.mirror import mirrored
    from ..datasets.shards.verify import verify

    with mirrored(place) as folder:
        problems = [str(problem) for problem in verify(folder, deep=deep)]
    _judge(place, problems, "deep " * deep + "verification of shards and manifest")


@manifest.command("show")
def manifest_show(place: DataSet) -> None:
    """Print the header: recipe, back ends with versions and weights, environment, counts, shards.

    Example: spherehead manifest show heads
    """
    from ..datasets.shards.inspect import record_text
    from ..datasets.shards.mirror import mirrored
    from ..manifests.config import to_plain
    from ..manifests.store import read_header

    with mirrored(place) as folder:
        echo_text(record_text(to_plain(read_header(folder))))


@manifest.command("summary")
def manifest_summary(place: DataSet) -> None:
    """Sum a data set up: inputs by outcome, reasons, scores, views, licences.

    Example: spherehead manifest summary heads
    """
    from ..datasets.shards.mirror import mirrored
    from ..manifests.summary import summarise

    with mirrored(place) as folder:
        found = summarise(folder)
    tables: Mapping[str, Any] = {
        "inputs": found.inputs, "rows": found.rows, "reasons": found.reasons, "scores": found.scores, "views": found.views,
        "licences": found.licences,
    }  # fmt: skip
    echo_text("\n\n".join(f"{title}\n{table.to_string()}" for title, table in tables.items() if len(table)))


@manifest.command("diff")
def manifest_diff(
    first: DataSet, second: DataSet, limit: Annotated[int, typer.Option("--limit", min=1, help="Lines a paragraph.")] = 10
) -> None:
    """Say what differs between two data sets; 0 where nothing does, 3 otherwise.

    Example: spherehead manifest diff heads heads-before
    """
    from ..datasets.shards.mirror import mirrored
    from ..manifests.diff import diff_folders

    with mirrored(first) as one, mirrored(second) as two:
        difference = diff_folders(one, two, limit)
    echo_text(difference.text(limit))
    raise typer.Exit(OK if difference.equal else MISMATCH)


@manifest.command("verify")
def manifest_verify(place: DataSet) -> None:
    """Verify manifest, header and sizes of shards against each other without reading the shards' content.

    Example: spherehead manifest verify heads
    """
    from ..datasets.shards.mirror import mirrored
    from ..datasets.shards.verify import verify_manifest

    with mirrored(place) as folder:
        problems = [str(problem) for problem in verify_manifest(folder)]
    _judge(place, problems, "verification of the manifest")


def _judge(place: str, problems: Sequence[str], what: str) -> None:
    """Print what a check found and leave with its exit code."""
    for problem in problems:
        echo(f"error: {problem}", to_error=True)
    echo(f"{shown_place(place)}: {what}: {f'{len(problems)} problems' if problems else 'sound'}")
    raise typer.Exit(MISMATCH if problems else OK)
