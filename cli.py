"""The program `spherehead`: its commands, and how errors become one line and an exit code.

The commands are in `commands`, by what they work on: each parses, makes a configuration, makes one call and prints one
result. What is done is in `pipeline`, `datasets` and `manifests`, imported inside, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a file: ./datasets must hide nobody's package, so the installed one takes over
    import runpy

    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    try:
        runpy.run_module("spherehead", run_name="__main__", alter_sys=True)
    except ImportError as missing:
        sys.exit(f"error: {missing}; install this checkout first: pip install -e {Path(__file__).resolve().parent}")

import contextlib
import io
import logging
import os
import re
import signal
from collections.abc import Sequence
from typing import Annotated

import typer

from .commands import (
    annotators,
    assets,
    builds,
    exports,
    heads,
    inversion,
    machine,
    meshes,
    photographs,
    sets,
    training,
    viewing,
)
from .commands.common import ABORTED, INTERNAL, LOCKED, MISMATCH, OK, USAGE, echo
from .manifests.terminal import escape_tracebacks, log_to_terminal, print_exception, printable_text

EXIT_CODES = (
    "Exit codes: 0 done; 1 internal error; 2 wrong usage or setting, or something is missing; 3 a check found a mismatch; "
    "4 stopped by the abort guard; 5 another process writes the folder; 6 nothing was kept; 130 and 143 stopped by SIGINT "
    "and SIGTERM, rerun the same command to resume. --debug anywhere shows the traceback of an error."
)
ERRORS: dict[str, int] = {
    "manifests.config:ConfigError": USAGE,
    "manifests.registry:RegistryError": USAGE,
    "manifests.store:ManifestError": USAGE,
    "datasets.sources.base:SourceError": USAGE,
    "datasets.stores.retries:StoreError": USAGE,
    "datasets.shards.tar:ShardError": MISMATCH,
    "datasets.shards.storage:DataError": USAGE,
    "pipeline.backends.weights:WeightsError": USAGE,
    "pipeline.backends.rembg_models:MissingWeights": USAGE,
    "pipeline.synthetic.assets.fetch:FetchError": USAGE,
    "pipeline.synthetic.assets.formats:AssetError": USAGE,
    "pipeline.synthetic.rendering.render:RenderError": USAGE,
    "datasets.camera:CameraError": USAGE,
    "pipeline.building.request:BuildAborted": ABORTED,
    "pipeline.building.request:AccountingError": MISMATCH,
    "pipeline.building.shard_plan:CacheLost": USAGE,
    "pipeline.execution.database:StateError": INTERNAL,
    "pipeline.engines.base:EngineError": INTERNAL,
    "pipeline.stage:StageUnavailable": USAGE,
    "pipeline.annotators.heads.files:HeadNetworkError": USAGE,
    "manifests.lock:BuildLocked": LOCKED,
    "model.interop.limits:CheckpointError": USAGE,
    "model.store:ModelStoreError": USAGE,
    "model.meshes.mesh:MeshError": USAGE,
    "model.inversion.targets:TargetError": USAGE,
    "model.visualization.views:ViewError": USAGE,
    "model.evaluation.features:FeaturesError": USAGE,
    "model.nets.perceptual:PerceptualUnavailable": USAGE,
    "model.fetched:IdentityUnavailable": USAGE,
    "model.volumes.base:VolumeError": USAGE,
    "model.volume_rendering.base:RenderError": USAGE,
    "model.volume_rendering.rays:LabelError": USAGE,
    "model.train.trainer:TrainDiverged": ABORTED,
    "model.train.checkpoint:CheckpointWriteError": INTERNAL,
    "model.train.distributed:PeerLost": INTERNAL,
}
"""Errors that speak for themselves, as module:class, and the exit code of each."""

app = typer.Typer(
    help="Photographs and synthetic heads into verifiable WebDataset shards, and generators of heads trained on them.\n\n"
    "Example: spherehead build-dataset photos --out heads",
    epilog=EXIT_CODES,
    pretty_exceptions_enable=False,
)
for panel, commands in (
    ("Data sets", (builds.build_dataset, builds.merge, builds.plan, builds.estimate, builds.retry, builds.forget)),
    ("Data sets", (sets.report, exports.export)),
    ("Data sets", (photographs.render_photographs,)),
    (
        "Models of heads",
        (
            training.train,
            heads.generate,
            inversion.invert,
            inversion.train_encoder,
            viewing.view,
            meshes.mesh,
            heads.evaluate,
            heads.convert,
        ),
    ),
    ("This machine", (machine.doctor,)),
):
    for command in commands:
        app.command(command.__name__.replace("_", "-"), rich_help_panel=panel)(command)
for title, group, panel in (
    ("presets", builds.presets, "Data sets"),
    ("shards", sets.shards, "Data sets"),
    ("manifest", sets.manifest, "Data sets"),
    ("model", heads.model, "Models of heads"),
    ("annotators", annotators.annotators, "Data sets"),
    ("models", machine.models, "This machine"),
    ("assets", assets.assets, "This machine"),
):
    app.add_typer(group, name=title, rich_help_panel=panel)


def show_version(asked: bool) -> None:
    """Print the version where asked, and stop."""
    if asked:
        from . import __version__

        echo(f"spherehead {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="MODULE",
            envvar="SPHEREHEAD_PLUGINS",
            help="Load stages, sources, volumes and loss terms of your own: a module, or the path of a Python file.",
        ),
    ] = None,
) -> None:
    """Take the options that may stand before or after a command."""
    from .manifests.registry import load_plugins

    load_plugins(plugin or [])


def hoisted(words: Sequence[str]) -> list[str]:
    """Move every `--plugin MODULE` before the command, where `common` takes it."""
    front: list[str] = []
    rest: list[str] = []
    pending = iter(words)
    for word in pending:
        if word == "--":
            rest += [word, *pending]
        elif word == "--plugin":
            front += [word, *([value] if (value := next(pending, None)) is not None else [])]
        else:
            (front if word.startswith("--plugin=") else rest).append(word)
    return front + rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; the process's own where None.

    Returns:
        The exit code.
    """
    keep_standard_streams()
    if arguments is not None:
        return flushed(_run(list(arguments)))
    escape_tracebacks()
    try:
        return flushed(_run(sys.argv[1:]))
    finally:
        sys.excepthook = print_exception  # Typer sets its own when a command runs


def _run(words: list[str]) -> int:
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    log_to_terminal(logging.DEBUG if debug else logging.WARNING)
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    for stream in (sys.stdout, sys.stderr):  # names of files need not fit the terminal's encoding
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return int(app(hoisted(words), prog_name="spherehead", standalone_mode=False) or OK)
    except (KeyboardInterrupt, typer.Abort) as stop:
        signum = int(getattr(stop.__cause__ or stop, "signum", signal.SIGINT))
        say(f"error: stopped by {signal.Signals(signum).name}; rerun the same command to resume")
        return 128 + signum
    except Exception as error:
        if debug:
            raise
        code, text = explain(error)
        if text:
            say("error: " + re.sub(r"\n(?! )", "\n  ", text))  # a line within a name is none of ours
        return code


def keep_standard_streams() -> None:
    """Open what was closed of standard input, output and error: else the next file would get its number, and strange words."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def flushed(code: int) -> int:
    """Write out what was printed, and return the exit code; a full disk or a reader that ended is told here, not at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        from .manifests.faults import os_error_line

        say(f"error: standard output: {os_error_line(error)}")
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or INTERNAL
    return code


def say(text: str) -> None:
    """Print a line for a person, where there is anything to print it to."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(printable_text(text), file=sys.stderr, flush=True)


def explain(error: Exception) -> tuple[int, str]:
    """Return the exit code and the line for an error."""
    names = {f"{cls.__module__}:{cls.__qualname__}" for cls in type(error).__mro__}
    if hasattr(error, "signum"):  # BuildInterrupted
        return 128 + int(error.signum), str(error)
    for known, code in ERRORS.items():
        if f"{__package__}.{known}" in names:
            return code, str(error)
    if hasattr(error, "format_message"):  # what typer says about the command line
        return int(getattr(error, "exit_code", USAGE)), str(error.format_message())
    if type(error) in (LookupError, ImportError) or (type(error) is FileNotFoundError and error.errno is None):
        return USAGE, str(error)  # worded by us: nothing to show, or a package is missing
    if isinstance(error, OSError):
        from .manifests.faults import os_error_line

        return USAGE if type(error) is FileNotFoundError else INTERNAL, os_error_line(error)
    if isinstance(error, ValueError) and (what := _no_name(error)):
        return USAGE, f"{what}, which no file's name has: correct it in the command, the recipe or the list"
    if isinstance(error, RuntimeError) and _is_lost_peer(error):
        return INTERNAL, "another process of this training ended; its own message says why; rerun the same command to resume"
    return INTERNAL, f"internal: {type(error).__name__}: {error}; the same command with --debug shows where"


def _no_name(error: ValueError) -> str:
    """Say what keeps a name that came from outside from being a file's; empty where an error is about something else."""
    if "embedded null" in str(error):
        return "a name holds a NUL character"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return f"the name {error.object[:200]!r} holds half a character (a lone surrogate)"
    return ""


def _is_lost_peer(error: RuntimeError) -> bool:
    """Return whether torch says that another rank of a run is gone."""
    return type(error).__name__ in ("DistBackendError", "DistNetworkError") or "/gloo/" in str(error)
