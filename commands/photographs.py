"""The command `render-photographs`: whole photographs of rendered people with every label, for networks that look at heads.

Canonical crops come from `builds`; what is drawn is the affair of `pipeline.synthetic.wild`.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .common import Out, echo


def render_photographs(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="makehuman:count=600,views=20,size=256,seed=1: people, and photographs of each."),
    ],
    out: Out,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 is one per core.")] = 0,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Photographs in a shard, about: casts of six people stay whole.")
    ] = 1000,
) -> None:
    """Render photographs with one to six heads, and every label of each, into shards; rerun the command to resume.

    Example: spherehead render-photographs makehuman:count=600,views=20,size=256 --out photographs
    """
    from ..pipeline.synthetic.wild.writer import parse_wild, write_photographs

    def tick(name: str, count: int) -> None:
        echo(f"{out / name}: {count:,} photographs", flush=True)

    done = write_photographs(parse_wild(source), out, shard_size, workers or len(os.sched_getaffinity(0)), tick)
    echo(f"{out}: {done.photographs:,} photographs of {done.heads:,} heads in {done.shards} shards, {done.made} made now")
