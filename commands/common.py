"""What several commands share: exit codes, arguments, and how tables and sizes are written and read.

Each command is in the module of what it works on; errors become exit codes in `cli`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..manifests.terminal import escaped

OK, INTERNAL, USAGE, MISMATCH, ABORTED, LOCKED, NOTHING_KEPT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130
"""Exit codes; README lists them, and any other signal's is 128 + its number."""

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a data set: what --out was.")]
DataSet = Annotated[str, typer.Argument(metavar="DIR|URL", help="A data set: what --out was, or an address that serves it.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the data set.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OutPlace = Annotated[
    str, typer.Option("--out", metavar="DIR|URL", help="Folder of the data set, or a prefix such as s3://bucket/heads.")
]
StateFolder = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="With --out URL: folder here for the build and its memory, else in the cache."),
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Do not write the report.")]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in lines of columns, two spaces apart, the last column ragged."""
    lines = [tuple(map(escaped, row)) for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def echo(*lines: str, to_error: bool = False, flush: bool = False) -> None:
    """Print lines, with everything in them that a terminal would obey as escapes; the only way in which commands print.

    Args:
        lines: each without an end of line; one inside is a name's, and escaped too.
        to_error: print to standard error.
        flush: do not wait for more.
    """
    stream = sys.stderr if to_error else sys.stdout
    if stream is not None:
        print(*map(escaped, lines), sep="\n", file=stream, flush=flush)


def echo_text(text: str) -> None:
    """Print a text of several lines, each as `echo` does."""
    echo(*text.removesuffix("\n").split("\n"))


def parse_size(text: str) -> int:
    """Read a number of bytes such as 4GiB, 500MB or 1e9.

    Raises:
        typer.BadParameter: it is none.
    """
    units = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
    number = text.strip().upper().removesuffix("B").rstrip("KMGTI ")
    unit = text.strip().upper().removesuffix("B")[len(number) :].strip()
    try:
        value = float(number) * units[unit]
    except (ValueError, KeyError) as error:
        raise typer.BadParameter(f"expected a size such as 4GiB or 500MB, got {text!r}") from error
    if not 1 <= value < 2**63:
        raise typer.BadParameter(f"expected a size of one byte or more, got {text!r}")
    return int(value)
