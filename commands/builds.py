"""Commands that build: `build-dataset`, `plan`, `estimate`, `retry`, `forget` and `presets ...`.

They turn options into a `BuildRequest`, run it under a display, and word what came of it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import NOTHING_KEPT, OK, NoReport, OutPlace, StateFolder, echo, echo_text, parse_size, table

if TYPE_CHECKING:
    from ..pipeline.building.request import BuildRequest, Summary
    from ..pipeline.publishing.place import Place
    from ..pipeline.recipe import Recipe

presets = typer.Typer()
RayAddress = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="Of the Ray cluster; default: RAY_ADDRESS, else this machine alone."),
]
ShardOf = Annotated[str, typer.Option(metavar="K/N", help="Do part K of N into --out; when all N are done, run `merge`.")]
WorkersPerGpu = Annotated[
    int, typer.Option(min=0, help="Workers that share a GPU; 0 is one a CPU, at most 8, with Ray, and all with local.")
]
VIEWS = "views:"
"""Source that --fill-views adds."""

FillViews = Annotated[
    bool, typer.Option("--fill-views", help="Render the views that the kept heads lack; settings: the source views:most=500.")
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Read what symbolic links lead to, as in Hugging Face's cache.")
]


def request_from_options(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folder, zip, tar, list, s3://bucket/photos, data set, or makehuman:count=50.",
        ),
    ],
    out: OutPlace,
    preset: Annotated[str, typer.Option(help="Name of a preset, or a YAML file as `presets show` prints it.")] = "heads",
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 is one a core, with Ray of the whole cluster.")] = 0,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting: --set detect.faces=all"),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of inputs; 0 is all.")] = 0,
    engine: Annotated[str, typer.Option(help="local: processes; ray: a Ray cluster; inline: this process.")] = "local",
    ray_address: RayAddress = "",
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds for one file.")] = 120.0,
    max_memory: Annotated[str, typer.Option(help="What photographs being decoded at once may take.")] = "4GiB",
    abort_share: Annotated[float, typer.Option(help="Stop when this share of the last 200 files failed alike.")] = 0.9,
    update: Annotated[
        bool, typer.Option("--update", help="Let the folder change to other settings or sources, or hold other files too.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where models run that can choose: cpu or cuda.")] = "cpu",
    workers_per_gpu: WorkersPerGpu = 0,
    fill_views: FillViews = False,
    follow_links: FollowLinks = False,
    shard_of: ShardOf = "",
    state: StateFolder = None,
    no_report: NoReport = False,
) -> Any:
    """Return the BuildRequest that a command line asks for; the signature is that of `build-dataset` and `plan`."""
    from ..datasets.sources.names import from_native
    from ..pipeline.building.parts import PartOf
    from ..pipeline.building.request import BuildRequest
    from ..pipeline.publishing.place import place_of

    place = place_of(out, state)
    if shard_of and place.url:
        raise typer.BadParameter("parts are built in a folder; pass the URL to merge", param_hint="--shard-of")
    folder = PartOf.parse(shard_of).folder(place.folder) if shard_of else place.folder
    asked = tuple(map(from_native, sources))
    if fill_views and not any(text.startswith(VIEWS) for text in asked):
        asked += (VIEWS,)
    recipe, cores = recipe_from(preset, assignments or []), len(os.sched_getaffinity(0))
    return BuildRequest(
        asked, folder, recipe, workers or (0 if engine == "ray" else cores), limit, engine, time_limit,
        parse_size(max_memory), abort_share, update, device, follow_links, ray_address, shard_of,
        workers_per_gpu=workers_per_gpu,
    )  # fmt: skip


def takes_request(run: Callable[[BuildRequest, Place, bool], None]) -> Callable[..., None]:
    """Give a command the options of `request_from_options`."""

    @functools.wraps(request_from_options)
    def command(**options: Any) -> None:
        place = prepared(options["out"], options["state"], options["update"])
        run(request_from_options(**options), place, options["no_report"])

    command.__name__, command.__doc__ = run.__name__, run.__doc__
    return command


@takes_request
def build_dataset(request: BuildRequest, place: Place, no_report: bool) -> None:
    """Turn photographs into shards, manifest and report; rerun the same command to resume after a stop.

    Example: spherehead build-dataset photos --out heads --workers 2 --set detect.faces=all
    """
    finish(request, place, no_report)


@takes_request
def plan(request: BuildRequest, place: Place, no_report: bool) -> None:
    """Say what build-dataset with the same arguments would run, and why, without running it.

    Example: spherehead plan photos --out heads --set shard_size=500
    """
    from ..pipeline.building.plan import make_plan

    echo(*make_plan(request).lines())


def estimate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished data set whose build is the measure.")],
    photographs: Annotated[list[int] | None, typer.Option(min=1, help="Number of inputs; may be given again.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines with workers.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Workers of each.")] = 16,
    node_price: Annotated[float, typer.Option(min=0, help="Of a node and hour.")] = 0.0,
    losses: Annotated[float, typer.Option(min=0, help="Share of the nodes that is lost in an hour.")] = 0.0,
    latency: Annotated[float, typer.Option(min=0, help="Seconds from a request to its first byte.")] = 0.0,
    bandwidth: Annotated[str, typer.Option(help="Of the store a second, as 2GB; empty for no limit.")] = "",
    requests: Annotated[float, typer.Option(min=0, help="That the store takes a second; 0 for no limit.")] = 0.0,
    failing: Annotated[float, typer.Option(min=0, max=0.99, help="Share of requests that fail.")] = 0.0,
    get_price: Annotated[float, typer.Option(min=0, help="Of 1,000 reads.")] = 0.0,
    put_price: Annotated[float, typer.Option(min=0, help="Of 1,000 writes.")] = 0.0,
    memory: Annotated[str, typer.Option(help="Of the machine with the main process.")] = "64GiB",
    disk: Annotated[str, typer.Option(help="Of that machine.")] = "1TB",
    seed: Annotated[int, typer.Option(help="Of the losses of nodes.")] = 0,
) -> None:
    """Estimate time, cost, requests and memory of a large build on a cluster, from a small one that was built here.

    Example: spherehead estimate heads --photographs 1000000 --nodes 16 --losses 0.05 --node-price 0.8
    """
    from ..pipeline.estimating.lines import lines, measured_line
    from ..pipeline.estimating.measured import measure
    from ..pipeline.estimating.simulation import Cluster, Store, simulate

    measured = measure(folder)
    room = parse_size(memory), parse_size(disk)
    cluster = Cluster(nodes, workers, node_price, losses, memory=room[0], disk=room[1])
    no_limit = float("inf")
    speed = parse_size(bandwidth) if bandwidth else no_limit
    store = Store(latency, speed, requests or no_limit, failing, get_price, put_price)
    echo(measured_line(measured))
    for count in photographs or (10**6, 10**8, 10**9):
        echo(*lines(count, cluster, simulate(count, measured, cluster, store, seed)))


def retry(
    out: OutPlace,
    reason: Annotated[str, typer.Option("--reason", help="A reason code, such as timeout; see the report.")],
    state: StateFolder = None,
    no_report: NoReport = False,
) -> None:
    """Work again on the files that ended with a reason.

    Example: spherehead retry --out heads --reason timeout
    """
    from ..pipeline.building.takedown import retry as forget_results
    from ..pipeline.presets import STAGES

    place = prepared(out, state)
    request, count = forget_results(place.folder, reason, STAGES)
    echo(f"{count:,} files with reason {reason} are worked on again")
    finish(request, place, no_report)


def forget(
    what: Annotated[str, typer.Argument(metavar="ID|PATH|SHA", help="Id of a sample, path of an input, or sha256 of a file.")],
    out: OutPlace,
    state: StateFolder = None,
) -> None:
    """Take a picture down: out of shards, manifest, cache and thumbnails, and out of every later build of the folder.

    A merged data set takes it out of the parts too that it was merged from. After a stop, rerun the command.

    Example: spherehead forget 0123456789abcdef --out heads
    """
    from ..datasets.sources.names import from_native
    from ..pipeline.building.takedown import PartsLeft
    from ..pipeline.building.takedown import forget as take_down
    from ..pipeline.presets import STAGES

    place, left = prepared(out, state), None
    try:
        done = take_down(place.folder, from_native(what), STAGES)
    except PartsLeft as error:
        done, left = error.done, error
    if (place.folder / "report").is_dir():  # its sheets may show the picture
        from ..datasets.report.report import write_report

        done += f"; report written anew: {write_report(place.folder)}"
    echo(done)
    kept_in_store(place)
    if left is not None:
        raise left


def merge(
    out: OutPlace,
    parts: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR...]", help="Where the parts are; default: in --out.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes for what the parts leave open; 0 is one a core.")] = 0,
    engine: Annotated[str, typer.Option(help="local, ray or inline, as in build-dataset.")] = "local",
    update: Annotated[bool, typer.Option("--update", help="Let the folder change to the settings of the parts.")] = False,
    state: StateFolder = None,
    no_report: NoReport = False,
) -> None:
    """Merge the parts that build-dataset --shard-of K/N has made into the data set of one build, byte for byte.

    Example: spherehead merge --out heads
    """
    import contextlib

    from ..pipeline.building.merge import MergeOptions
    from ..pipeline.building.merge import merge as merge_parts
    from ..pipeline.console.progress import JsonLog, Several, for_console
    from ..pipeline.presets import STAGES

    options = MergeOptions(workers or (0 if engine == "ray" else len(os.sched_getaffinity(0))), engine, update=update)
    place = prepared(out, state, update)
    with contextlib.closing(Several([for_console(sys.stderr), JsonLog(place.folder / "log.jsonl")])) as observer:
        summary = merge_parts(place.folder, parts or [], STAGES, options, observer)
    end(summary, place, no_report)


@presets.callback(invoke_without_command=True)
def presets_list(context: typer.Context) -> None:
    """List the presets; `presets show NAME` prints one with the meaning of every setting.

    Example: spherehead presets
    """
    from ..pipeline.presets import PRESETS

    if context.invoked_subcommand is None:
        rows = [(name, " ".join((make.__doc__ or "").split("\n\n")[0].split())) for name, make in PRESETS.items()]
        echo(*table(("preset", "what it is for"), rows))


@presets.command("show")
def presets_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a preset, or a YAML file.")],
    assignments: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting.")] = None,
) -> None:
    """Print a preset as YAML with the meaning of every setting; build-dataset --preset FILE.yaml reads it back.

    Example: spherehead presets show heads > heads.yaml
    """
    from ..pipeline.console.describe import describe

    echo_text(describe(recipe_from(name, assignments or [])))


def recipe_from(preset: str, assignments: Sequence[str] = ()) -> Recipe:
    """Return a preset, or the recipe in a YAML file, with settings changed."""
    from ..manifests.config import load_plain
    from ..pipeline.presets import STAGES
    from ..pipeline.presets import preset as by_name
    from ..pipeline.recipe import Recipe

    is_file = preset.endswith((".yaml", ".yml", ".json"))
    recipe = Recipe.from_plain(load_plain(Path(preset)), STAGES) if is_file else by_name(preset)
    return recipe.override(assignments)


def prepared(out: str, state: Path | None, update: bool = False) -> Place:
    """Return the place that `--out` names, its store looked at where it has one."""
    from ..pipeline.publishing.place import place_of, prepare

    place = place_of(out, state)
    for line in prepare(place, update):
        echo(line, to_error=True)
    return place


def kept_in_store(place: Place) -> None:
    """Bring a finished data set to its store, where it has one, and say what was written."""
    if place.url:
        from ..pipeline.publishing.publish import publish

        echo(publish(place).line(place))


def finish(request: BuildRequest, place: Place, no_report: bool) -> None:
    """Run a build with its displays, write the report, bring it all to its store, and say what came of it."""
    import contextlib

    from ..pipeline.building.build import build
    from ..pipeline.console.progress import JsonLog, Several, for_console

    with contextlib.closing(Several([for_console(sys.stderr), JsonLog(request.out / "log.jsonl")])) as observer:
        summary = build(request, observer)
    if request.shard_of:
        echo(_part_result(request, summary))
        return
    end(summary, place, no_report)


def end(summary: Summary, place: Place, no_report: bool) -> None:
    """Write the report of a data set, bring it all to its store, and say what came of its build."""
    kept, told = sum(summary.samples.values()), ""
    if kept and not no_report:
        from ..datasets.report.report import write_report

        told = f"; report: {write_report(summary.out)}"
    echo(_result(summary) + told)
    kept_in_store(place)
    raise typer.Exit(OK if kept else NOTHING_KEPT)


def _part_result(request: BuildRequest, summary: Summary) -> str:
    """Word what came of a part."""
    counts = ", ".join(f"{name} {count:,}" for name, count in summary.counts.items() if count and name != "inputs")
    told = f"part {request.shard_of}: {summary.counts['inputs']:,} inputs ({counts or 'none'}) at {request.out}"
    return f"{told}; when all parts are done: spherehead merge --out {request.out.parent.parent}"


def _result(summary: Summary) -> str:
    """Word what came of a build."""
    splits = ", ".join(f"{split} {count:,}" for split, count in summary.samples.items())
    total = sum(summary.samples.values())
    shards = f"{summary.num_shards:,} shard" + "s" * (summary.num_shards != 1)
    return f"{total:,} sample{'s' * (total != 1)} in {shards} at {summary.out}" + (f" ({splits})" if splits else "")
