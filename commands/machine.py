"""Commands about this machine: `doctor` and `models ...`.

The model files themselves are `pipeline.backends.weights`' affair, the examination `pipeline.console.doctor`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import MISMATCH, OK, Json, echo, echo_text, table

models = typer.Typer(help="List, fetch and verify model files.", no_args_is_help=True)


def doctor(json_: Json = False) -> None:
    """Check this machine: packages and pins, embedded models, disk, memory, GPU, weights.

    Example: spherehead doctor
    """
    from ..pipeline.console.doctor import examine

    diagnosis = examine()
    echo_text(diagnosis.json() if json_ else diagnosis.text())
    raise typer.Exit(OK if diagnosis.healthy else MISMATCH)


@models.command("list")
def models_list(
    check: Annotated[bool, typer.Option("--check", help="Read the files and compare digests.")] = False, json_: Json = False
) -> None:
    """List the models: those inside the packages, those on this machine, and those that can be fetched.

    Example: spherehead models list
    """
    from ..pipeline.backends.weights_listing import listing

    lines = listing(check)
    if json_:
        from ..datasets.shards.inspect import record_text
        from ..manifests.config import to_plain

        echo_text(record_text({line.name: to_plain(line) for line in lines}))
    else:
        rows = [(line.name, line.state, line.licence, line.purpose, line.detail or line.where) for line in lines]
        echo(*table(("model", "state", "licence", "purpose", "remark or place"), rows))


@models.command("fetch")
def models_fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names from `models list`.")],
    from_: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="A local copy to take instead.")] = None,
    url: Annotated[str, typer.Option("--url", help="A mirror to take instead.")] = "",
    trust: Annotated[bool, typer.Option("--trust", help="Accept a file whose digest nobody publishes, and record it.")] = False,
) -> None:
    """Download model files, verify their sha256, and put them where the stages look.

    Example: spherehead models fetch birefnet-portrait
    """
    from ..pipeline.backends.weights import fetch

    if (from_ or url) and len(names) > 1:
        raise typer.BadParameter("expected one NAME with --from or --url", param_hint="NAME")
    for name in names:
        fetched = fetch(name, from_, url, trust)
        echo(f"{name}: {fetched.path}, sha256 {fetched.sha256}, verified by {fetched.checked_by}")
        if name == "identity":
            from ..model.interop.identity import convert_identity

            echo(f"{name}: {convert_identity(fetched.path, fetched.path.parent)}, made of it for invert and evaluate")


@models.command("verify")
def models_verify(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]")] = None) -> None:
    """Compare the model files on this machine with their digests; with NAME, those must be there.

    Example: spherehead models verify
    """
    from ..pipeline.backends.weights_listing import listing, status

    lines = [status(name) for name in names] if names else [line for line in listing(checked=True) if line.state != "missing"]
    for line in lines:
        echo(f"{line.name}: {line.state}, {line.detail or line.where}")
    if any(line.state in ("wrong", "missing") for line in lines):
        raise typer.Exit(MISMATCH)
