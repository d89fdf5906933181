"""The command line. Every command imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from brainbench import __version__
from brainbench.core.errors import EXIT_USER_ERROR, Interrupted, UserError

EXIT_INTERRUPTED = 130
GARBAGE = 50_000, 20, 20
"""When Python looks for garbage: imports make many objects, none of which is any, and its own thresholds make them a
quarter longer."""
MAX_WARNINGS = 8
"""Warnings of a run that are printed; all stand in its report."""

app = typer.Typer(
    name="brainbench",
    help="Which layer of which model explains which part of the brain.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(
    help="Data sets: what they are, where they come from, whether yours is whole.", no_args_is_help=True
)
cache_app = typer.Typer(
    help="The cache of features and trained networks: what is in it, and why.", no_args_is_help=True
)
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")


RecipeArgument = Annotated[str, typer.Argument(help="A recipe file, or the name of an installed recipe.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. --set seed=1. Repeatable."),
]
CacheOption = Annotated[
    str | None,
    typer.Option("--cache", metavar="DIR", help="Feature store [default: BRAINBENCH_CACHE or the user's cache]."),
]
OutOption = Annotated[str | None, typer.Option("--out", metavar="DIR", help="Run folder [default: runs/<recipe>].")]
EngineOption = Annotated[str | None, typer.Option("--engine", help="Where units run: local, dask or slurm.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", metavar="tcp://HOST:PORT", help="Scheduler of a running dask cluster.")
]
JobsOption = Annotated[int | None, typer.Option("--jobs", help="Units at once; 0: one per core.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, mps, cuda or cuda:N.")]


def _overrides(settings: list[str] | None, **execution: str | int | None) -> list[str]:
    """Return `--set` values with the flags that stand for settings of ``execution``."""
    values = list(settings or [])
    for key, value in execution.items():
        if value is not None:
            values.append(f"execution.{key}={value}")
    return values


def _warnings(sentences: list[str]) -> str:
    """Return the first warnings of a run, a line each, and how many more the report has."""
    lines = [f"warning: {sentence}" for sentence in sentences[:MAX_WARNINGS]]
    if len(sentences) > MAX_WARNINGS:
        lines.append(f"... and {len(sentences) - MAX_WARNINGS} more warnings in the report")
    return "".join(f"{line}\n" for line in lines)


def _names(value: str | None) -> list[str]:
    """Return the names of a list with commas."""
    return [name.strip() for name in (value or "").split(",") if name.strip()]


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="Kind of recipe (`brainbench list kinds`).")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="On which data (`brainbench list datasets`).")
    ] = None,
) -> None:
    """Print a commented recipe: `brainbench new encode > my.yaml` runs as it is, with `--dataset` on your data."""
    from brainbench.recipes.template import write_template

    sys.stdout.write(write_template(kind, dataset))


@app.command()
def check(
    recipe: RecipeArgument,
    settings: SetOption = None,
    fast: Annotated[bool, typer.Option("--fast", help="Read the recipe alone, and nothing of its data.")] = False,
) -> None:
    """Report every problem of a recipe with its line, what its stimuli show, and what a run of it would refuse."""
    from brainbench.recipes.reader import find_recipe, read_recipe

    parsed = read_recipe(recipe, settings or [])
    if parsed.dataset.name != "simulated" and not fast:
        from brainbench.commands.check import look_at_stimuli, try_first

        typer.echo(_warnings(look_at_stimuli(parsed)), err=True, nl=False)
        try_first(parsed)
    typer.echo(f"{find_recipe(recipe)}: no problems")


@app.command()
def plan(
    recipe: RecipeArgument,
    settings: SetOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = None,
) -> None:
    """Show the units of work, what is cached, and the memory and time to expect."""
    from brainbench.commands.plan import plan as plan_recipe

    typer.echo(
        plan_recipe(recipe, overrides=_overrides(settings, jobs=jobs, device=device), out=out, cache=cache).render()
    )


@app.command()
def run(
    recipe: RecipeArgument,
    settings: SetOption = None,
    out: OutOption = None,
    cache: CacheOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the path of the report and nothing else.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every input file again.")] = False,
) -> None:
    """Run a recipe, or continue where it stopped, and print the path of the report."""
    from brainbench.commands.run import run as run_recipe

    if address is not None and engine is None:
        engine = "dask"
    overrides = _overrides(settings, engine=engine, address=address, jobs=jobs, device=device)
    result = run_recipe(recipe, overrides=overrides, out=out, cache=cache, quiet=quiet, verify=verify)
    if not quiet:
        typer.echo(_warnings(result.warnings), err=True, nl=False)
    typer.echo(str(result.report))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Rebuild the report of a run folder."""
    from brainbench.commands.execute import rebuild_report
    from brainbench.commands.run import open_run

    typer.echo(str(rebuild_report(open_run(folder).path)))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to [default: <run>/export].")] = None,
    cache: CacheOption = None,
    weights: Annotated[bool, typer.Option(help="Also refit on all rows and write the weights.")] = True,
) -> None:
    """Write held-out predictions, weights and layer-preference maps of a run, or what it said of every trial."""
    from brainbench.commands.export import export_run

    for path in export_run(folder, out=out, cache=cache, weights=weights):
        typer.echo(str(path))


@app.command()
def apply(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run with `pipelines`.")],
    recording: Annotated[Path, typer.Argument(help="EDF, BDF, GDF, BrainVision, EEGLAB, FIF or CSV.")],
    out: Annotated[Path, typer.Option("--out", metavar="CSV", help="Table to write.")],
    pipeline: Annotated[str | None, typer.Option(help="Which pipeline [default: the first of the recipe].")] = None,
    subject: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Whose trials train [default: the recorded person's, else everybody's]."),
    ] = None,
    train_runs: Annotated[
        str | None, typer.Option(metavar="R1,R2", help="Which runs train [default: all but the recording itself].")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Table with `onset` in seconds and, where known, `label`.")
    ] = None,
    root: Annotated[str | None, typer.Option(metavar="DIR", help="Where the run's data set lies now.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Replay it window by window, as if it arrived now.")] = False,
    step: Annotated[float | None, typer.Option(help="Seconds between decisions [default: 0.25].")] = None,
    window: Annotated[float | None, typer.Option(help="Seconds of a window [default: a trial].")] = None,
    delay: Annotated[
        float | None, typer.Option(help="Seconds between a window's end and the newest sample [default: 0].")
    ] = None,
    buffer: Annotated[
        float | None, typer.Option(help="Seconds kept [default: a window, the delay and the filter].")
    ] = None,
    evidence: Annotated[
        float | None, typer.Option(metavar="P", help="Gather evidence after events until a class has this probability.")
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Decode a new recording with a decoder of a finished run."""
    options = {"step": step, "window": window, "delay": delay, "buffer": buffer, "evidence": evidence}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if given and not stream:
        raise UserError(f"--{next(iter(given))} is for --stream")
    arguments: dict[str, Any] = {
        "out": out,
        "pipeline": pipeline,
        "subjects": _names(subject),
        "train_runs": _names(train_runs),
        "events": events,
        "root": root,
        "cache": cache,
    }
    if stream:
        from brainbench.commands.stream import StreamSettings, stream_run

        applied = stream_run(folder, recording, settings=StreamSettings(**given), quiet=False, **arguments)
    else:
        from brainbench.commands.apply import apply_run

        applied = apply_run(folder, recording, **arguments)
    typer.echo("\n".join([*applied.lines, str(out)]))


@app.command()
def audit(
    recipe: RecipeArgument,
    settings: SetOption = None,
    pipeline: Annotated[
        str | None, typer.Option(metavar="A,B", help="Which pipelines [default: all that are no networks].")
    ] = None,
    window: Annotated[float | None, typer.Option(help="Seconds of a window [default: a third of a trial].")] = None,
    step: Annotated[float | None, typer.Option(help="Seconds between windows [default: a quarter of one].")] = None,
    seeds: Annotated[int, typer.Option(help="How often all coins are flipped.")] = 5,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Folder [default: runs/<recipe>-audit].")
    ] = None,
    cache: CacheOption = None,
    jobs: JobsOption = None,
) -> None:
    """Run a recipe's folds on coin-flip labels and say whether they leak."""
    from brainbench.commands.audit import AuditSettings, audit_recipe, render

    how = AuditSettings(_names(pipeline), window, step, seeds)
    found = audit_recipe(
        recipe, settings=how, overrides=_overrides(settings, jobs=jobs), out=out, cache=cache, quiet=False
    )
    typer.echo(render(found))


@app.command()
def calibrate(
    recipe: RecipeArgument,
    settings: SetOption = None,
    sets: Annotated[
        int | None, typer.Option(help="Null data sets [default: as many as give 200 null participants].")
    ] = None,
    planted: Annotated[
        float | None,
        typer.Option(metavar="R", help="Also plant an effect of this correlation in as many sets, and count it."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Draw one set, if none was, and say how long all take.")] = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Folder [default: runs/<recipe>-calibration].")
    ] = None,
    cache: CacheOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = None,
) -> None:
    """Run a recipe on null participants of its own design and count false positives, coverage, and ceilings."""
    from brainbench.commands.calibrate import calibrate_recipe, plan_calibration

    found = (plan_calibration if plan else calibrate_recipe)(
        recipe, sets=sets, planted=planted, overrides=_overrides(settings, jobs=jobs, device=device), out=out,
        cache=cache, quiet=False,
    )  # fmt: skip
    typer.echo("\n".join(found.lines))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more run folders.")],
    metric: Annotated[str | None, typer.Option(help="Metric to compare [default: the leading one].")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
    page: Annotated[Path | None, typer.Option(help="Also write a page with paired differences, an .html file.")] = None,
) -> None:
    """Put the scores of several runs side by side."""
    from brainbench.commands.compare import compare_runs, other_data, render, write_page

    table = compare_runs(folders, metric=metric)
    if csv is not None:
        from brainbench.core.files import write_text

        write_text(csv, table.to_csv(index=False))
    typer.echo(render(table))
    for sentence in other_data(folders, table):
        typer.echo(sentence)
    if page is not None:
        typer.echo(f"page {write_page(folders, page, metric=metric)}")


@app.command()
def layers(
    model: Annotated[str, typer.Argument(help="minilm, any timm model, a transformers folder or hub name, or gabor.")],
    weights: Annotated[str, typer.Option(help="installed, pretrained, random, or a file.")] = "random",
    pattern: Annotated[str, typer.Option("--layers", help="Show the layers that this glob matches.")] = "*",
) -> None:
    """List an encoder's layers with depth and width."""
    from brainbench.commands.catalog import layers_table

    typer.echo(layers_table(model, weights=weights, pattern=pattern))


@app.command()
def lens(
    model: Annotated[str, typer.Argument(help="minilm, any timm model, or a transformers folder or hub name.")],
    stimuli: Annotated[Path, typer.Option(metavar="PATH", help="A folder of images, or a file with a text a line.")],
    weights: Annotated[str, typer.Option(help="installed, pretrained, random, or a file.")] = "random",
    diagnostics: Annotated[
        str | None, typer.Option(metavar="A,B", help="Which (`brainbench list diagnostics`) [default: all].")
    ] = None,
    n: Annotated[int, typer.Option(help="Stimuli at most.")] = 200,
    out: Annotated[Path | None, typer.Option("--out", help="Run folder [default: runs/lens-DIGEST].")] = None,
) -> None:
    """Look into a network, block by block, without a brain: the recipe of `kind: lens`, written and run."""
    from brainbench.commands.lens import look

    typer.echo(look(model, stimuli, weights=weights, diagnostics=_names(diagnostics), n=n, out=out))


@app.command("list")
def list_(
    what: Annotated[str | None, typer.Argument(help="What to list; without it what can be listed.")] = None,
) -> None:
    """List encoders, data sets, metrics, recipes, kinds of recipe and others."""
    from brainbench.commands.catalog import listing

    typer.echo(listing(what))


@app.command()
def doctor() -> None:
    """Say what works on this machine, and how to install what does not."""
    from brainbench.commands.doctor import examine, render
    from brainbench.core.progress import Stages

    with Stages(quiet=sys.stderr.isatty()).stage("look at this machine"):
        findings = examine()
    typer.echo(render(findings))


@data_app.command("init")
def data_init(
    folder: Annotated[str, typer.Argument(help="A folder as it comes.")],
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Recipe to write [default: <folder>.yaml].")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Kind of recipe [default: decode for recordings, else encode].")
    ] = None,
) -> None:
    """Look at a folder and write a recipe for it; say what each file was taken for and what is missing."""
    from brainbench.commands.proposing.init import init

    typer.echo("\n".join(init(folder, out, kind)))


@data_app.command("show")
def data_show(name: Annotated[str, typer.Argument(help="Name of a data set.")]) -> None:
    """Show a data set's card: source, licence, citation, files, traps."""
    from brainbench.data.fetch import describe

    typer.echo(describe(name))


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    root: Annotated[str | None, typer.Option("--root", metavar="DIR", help="Where to put it.")] = None,
) -> None:
    """Download a data set, verified, or print the steps where its terms ask for your own hands."""
    from brainbench.data.fetch import fetch

    typer.echo(fetch(name, root))


@data_app.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    root: Annotated[str | None, typer.Option("--root", metavar="DIR", help="Its folder.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the recipe's `dataset:`.")
    ] = None,
) -> None:
    """Open every subject of a data set and check that it is whole."""
    from brainbench.data.fetch import check as check_data

    typer.echo(check_data(name, root, settings or []))


@cache_app.command("show")
def cache_show(cache: CacheOption = None) -> None:
    """List what the cache holds."""
    from brainbench.commands.catalog import cache_table

    typer.echo(cache_table(cache))


@cache_app.command("explain")
def cache_explain(
    key: Annotated[str, typer.Argument(help="A key, or its beginning.")], cache: CacheOption = None
) -> None:
    """Say what is behind a key: every setting and digest that made it."""
    from brainbench.commands.catalog import explain

    typer.echo(explain(cache, key))


@cache_app.command("prune")
def cache_prune(
    cache: CacheOption = None,
    days: Annotated[float | None, typer.Option(help="Remove entries not used for so many days.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove every entry.")] = False,
) -> None:
    """Remove left-overs of killed runs and, if asked, old entries or all of them."""
    from brainbench.commands.catalog import prune

    typer.echo(prune(cache, days=days, everything=everything))


def _version(value: bool) -> None:
    if value:
        typer.echo(f"brainbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    """Which layer of which model explains which part of the brain."""


def _interrupted() -> int:
    typer.echo("interrupted: everything finished is kept; run the same command to continue", err=True)
    return EXIT_INTERRUPTED


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a user's error is one message and exit code 2."""
    gc.set_threshold(*GARBAGE)
    try:
        app(args=arguments)
    except UserError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_USER_ERROR)
    except ModuleNotFoundError as error:
        from brainbench.commands.doctor import explain_missing

        typer.echo(str(explain_missing(error)), err=True)
        sys.exit(EXIT_USER_ERROR)
    except (KeyboardInterrupt, Interrupted):
        sys.exit(_interrupted())
    except SystemExit as ended:
        # Typer turns an interrupt into an exit without a word.
        sys.exit(_interrupted() if ended.code == EXIT_INTERRUPTED else ended.code)
    except BrokenPipeError:
        sys.exit(1)
