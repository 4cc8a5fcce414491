"""The commands: `run` tries a storage, `clauses` lists what is tried."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, cast
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from satchel import Capabilities, SatchelError
from satchel_conformance import scaffold
from satchel_conformance.bench import Factory
from satchel_conformance.mistakes import MISTAKES
from satchel_conformance.registry import RULES, select
from satchel_conformance.results import Result, Status, line
from satchel_conformance.runner import PROFILES, check_exceptions, profile_of, validate
from satchel_conformance.running import check_portable, warm_up

app = typer.Typer(
    help="Proves a Satchel storage right.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_WORTH_PROCESSES: Final = 20  # clauses; to start processes takes as long as some of them

_Patterns = Annotated[
    list[str] | None, typer.Option("--clause", "-c", help="An id, a rule such as R4, or a glob; may be repeated.")
]
_File = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report to this file, too.")]


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version, and end.", is_eager=True)] = False,
) -> None:
    """Print the version if asked to."""
    if show_version:
        typer.echo(f"satchel-conformance {version('satchel-conformance')}")
        raise typer.Exit


@app.command()
def run(
    target: Annotated[
        str, typer.Argument(metavar="URL|MODULE:FACTORY", help="A storage's URL, or what makes a storage on each call.")
    ],
    clause: _Patterns = None,
    capabilities: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="What is declared, if the storage does not say itself.")
    ] = "",
    private: Annotated[
        bool, typer.Option("--private", help="Every storage has its records to itself, as each of memory:// has.")
    ] = False,
    profile: Annotated[str, typer.Option(help=f"How much is tried: {', '.join(PROFILES)}.")] = "quick",
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="How many clauses are tried at once.", show_default="2 per processor"),
    ] = None,
    exception: Annotated[
        list[str] | None,
        typer.Option("--exception", "-x", metavar="ID=REASON", help="A clause that may fail, and why; repeatable."),
    ] = None,
    race: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=REASON", help="A clause that the server breaks at times: it is tried again; repeatable."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON; progress goes to stderr.")] = False,
    junit: _File = None,
    markdown: _File = None,
    badge: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what an endpoint badge of shields.io is drawn from.")
    ] = None,
) -> None:
    """Try a storage, clause by clause. Exits with 1 if a clause fails, with 2 if nothing could be tried."""
    if "://" in target and not clause and jobs is None:  # it may as well begin while this goes on
        warm_up(target)
    storage = target if "://" in target else _factory(target)
    declared = _load(capabilities) if capabilities else None
    if declared is not None and not isinstance(declared, Capabilities):
        _stop(f"{capabilities} is no satchel.Capabilities")
    excepted, seldom = (dict(_named(one) for one in some or ()) for some in (exception, race))
    try:
        chosen = select(clause or ())
        profile_of(profile)
        check_exceptions(excepted, seldom)
    except ValueError as error:
        _stop(str(error))
    for file in (junit, markdown, badge):
        if file is not None and not file.absolute().parent.is_dir():
            _stop(f"{file} cannot be written: its folder does not exist")
        if file is not None and file.is_dir():
            _stop(f"{file} cannot be written: it is a folder")
    with _progress(len(chosen)) as tell:
        trying = validate(
            storage,
            capabilities=declared,
            shared=not private,
            exceptions=excepted,
            races=seldom,
            clauses=clause or (),
            profile=profile,
            jobs=_jobs(storage, len(chosen)) if jobs is None else jobs,
            progress=tell,
        )
        try:
            report = asyncio.run(trying)
        except (SatchelError, ValueError) as error:
            _stop(str(error))
        except BrokenProcessPool as error:
            _stop(f"{error}; with --jobs 1, this one ends instead, and says why")
    if "://" not in target or report.target == urlsplit(target).geturl():  # which writes memory:// without its slashes
        report = replace(report, target=target)
    options = [*["--private"] * private, *(["--profile", profile] if profile != "quick" else [])]
    report = replace(report, target=" ".join([report.target, *options]))
    typer.echo(report.to_json() if json else f"\n{report.summary()}")
    for file, written in ((junit, report.to_junit), (markdown, report.to_markdown), (badge, report.to_badge)):
        try:
            if file is not None:
                file.write_text(written(), encoding="utf-8")
        except OSError as error:
            _stop(f"{file} cannot be written: {error.strerror}")
    raise typer.Exit(0 if report.ok else 1)


@contextmanager
def _progress(clauses: int) -> Iterator[Callable[[Result], None]]:
    """Give what tells a result on stderr: on a terminal over a bar, which leaves what did not pass; else as a line."""
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    if not console.is_terminal:
        yield lambda result: typer.echo(line(result), err=True)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=clauses)

        def tell(result: Result) -> None:
            bar.update(task, advance=1, description=result.clause)
            if result.status in (Status.FAILED, Status.EXCEPTED) or result.took_several:
                bar.console.print(line(result))

        yield tell


@app.command()
def clauses(
    clause: _Patterns = None,
    mistakes: Annotated[bool, typer.Option("--mistakes", help="List known mistakes, and what catches each.")] = False,
) -> None:
    """List the clauses, under the rules that they are of."""
    try:
        chosen = select(clause or ())
    except ValueError as error:
        _stop(str(error))
    if mistakes:
        for number, mistake in enumerate(MISTAKES, 1):
            caught_by = select(mistake.clauses) if mistake.clauses else ()
            if not clause or not set(caught_by).isdisjoint(chosen):
                said = ", ".join(one.id for one in caught_by) or mistake.elsewhere
                typer.echo(f"{number:2}. {mistake.what}\n        {said}")
        return
    for number, text in RULES.items():
        if of_rule := [one for one in chosen if one.number == number]:
            typer.echo(f"R{number} {text}")
            for one in of_rule:
                needs = f" (where {', '.join(one.needs)})" if one.needs else ""
                typer.echo(f"    {one.id}{needs}\n        {one.statement}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The backend, in small letters: memcached.")],
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the package's folder is made.")] = Path(),
    url_scheme: Annotated[str, typer.Option(metavar="SCHEME", help="What its URLs start with, if not its name.")] = "",
) -> None:
    """Make the package of a new adapter. Its tests fail, and name the hooks that are still to be written."""
    try:
        made = scaffold.create(name, into, url_scheme=url_scheme or None)
    except scaffold.ScaffoldError as error:
        _stop(str(error))
    for path in made:
        typer.echo(path)


def _jobs(storage: Factory | str, clauses: int) -> int:
    """Return in how many processes to try clauses: twice as many as there are processors, as they wait for servers."""
    try:
        check_portable(storage)
    except ValueError:
        return 1
    return 2 * (os.cpu_count() or 1) if clauses >= _WORTH_PROCESSES else 1


def _named(exception: str) -> tuple[str, str]:
    """Return the clause and the reason of ID=REASON."""
    clause, _, reason = exception.partition("=")
    return clause, reason


def _factory(target: str) -> Factory:
    """Return what MODULE:NAME names, which makes storages."""
    found = _load(target)
    if not callable(found):
        _stop(f"{target} cannot be called")
    return cast("Factory", found)


def _load(target: str) -> Any:
    """Return what MODULE:NAME names; modules are looked for in the current folder first."""
    module, colon, name = target.partition(":")
    if not (module and colon and name):
        _stop(f"{target!r} is not MODULE:NAME, as in mybot.storage:make")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        _stop(f"{target} is not there: {error}")
    except Exception as error:
        _stop(f"{module} cannot be imported: {type(error).__name__}: {error}")
    return found


def _stop(message: str) -> NoReturn:
    typer.echo(f"satchel-conformance: {message}", err=True)
    raise typer.Exit(2)
