"""An estimate as text for a person: what was measured, what comes of it, and what breaks.

The numbers are `simulation`'s.
"""

from __future__ import annotations

from ..console.tally import duration, size
from .measured import Measured
from .simulation import Cluster, Estimate


def measured_line(measured: Measured) -> str:
    """Say what one photograph costs."""
    return (
        f"measured on {measured.photographs:,} photographs: {1000 * measured.worker_seconds:.1f} ms of a worker and "
        f"{1000 * measured.row_seconds:.2f} ms of the main process each, {size(measured.input_bytes)} in, "
        f"{size(measured.output_bytes)} out"
    )


def lines(photographs: int, cluster: Cluster, found: Estimate) -> list[str]:
    """Return an estimate as lines; times are those of a clock, sums of money in the user's currency."""
    lost = f", {found.losses:,} nodes lost, {found.repeated:,.0f} photographs repeated" if cluster.losses else ""
    unread = f"; {found.unread:,.0f} photographs fail at every try" if found.unread >= 0.5 else ""
    rows = [
        ("time", f"{duration(found.seconds)} ({duration(found.working_seconds)} with workers){lost}"),
        ("speed set by", found.limit),
        ("node hours", f"{found.node_seconds / 3600:,.1f}"),
        ("cost", f"{found.cost:,.2f}"),
        ("store", f"{found.reads:,.0f} reads, {found.writes:,.0f} writes{unread}"),
        ("main process", f"{size(found.memory)} of memory, {size(found.disk)} of disk"),
    ]
    head = f"{photographs:,} photographs on {cluster.nodes:,} nodes of {cluster.workers:,} workers"
    return [head, *(f"  {name:<13} {text}" for name, text in rows), *(f"  breaks: {text}" for text in found.breaks)]
