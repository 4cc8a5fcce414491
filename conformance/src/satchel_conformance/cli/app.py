"""The commands: `run` tries a storage, `clauses` lists what is tried."""

import asyncio
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer

from satchel import Capabilities, SatchelError
from satchel_conformance import scaffold
from satchel_conformance.bench import Factory
from satchel_conformance.mistakes import MISTAKES
from satchel_conformance.registry import RULES, select
from satchel_conformance.results import line
from satchel_conformance.runner import PROFILES, examples_of, validate

app = typer.Typer(
    help="Proves a Satchel storage right.", add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False
)

_Patterns = Annotated[
    list[str] | None, typer.Option("--clause", "-c", help="An id, a rule such as R4, or a glob; may be repeated.")
]


@app.command()
def run(
    target: Annotated[
        str, typer.Argument(metavar="URL|MODULE:FACTORY", help="A storage's URL, or what makes a storage on each call.")
    ],
    clause: _Patterns = None,
    capabilities: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="What is declared, if the storage does not say itself.")
    ] = "",
    private: Annotated[bool, typer.Option("--private", help="Every storage has its records to itself.")] = False,
    profile: Annotated[str, typer.Option(help=f"On how many examples properties are tried: {', '.join(PROFILES)}.")] = (
        "quick"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON; progress goes to stderr.")] = False,
) -> None:
    """Try a storage, clause by clause. Exits with 1 if a clause fails, with 2 if nothing could be tried."""
    storage = target if "://" in target else _factory(target)
    declared = _load(capabilities) if capabilities else None
    if declared is not None and not isinstance(declared, Capabilities):
        _stop(f"{capabilities} is no satchel.Capabilities")
    try:
        select(clause or ())
        examples_of(profile)
    except ValueError as error:
        _stop(str(error))
    trying = validate(
        storage,
        capabilities=declared,
        shared=not private,
        clauses=clause or (),
        profile=profile,
        progress=lambda result: typer.echo(line(result), err=True),
    )
    try:
        report = asyncio.run(trying)
    except SatchelError as error:
        _stop(str(error))
    typer.echo(report.to_json() if json else f"\n{report.summary()}")
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def clauses(
    clause: _Patterns = None,
    mistakes: Annotated[bool, typer.Option("--mistakes", help="List known mistakes, and what catches each.")] = False,
) -> None:
    """List the clauses, under the rules that they are of."""
    if mistakes:
        for number, mistake in enumerate(MISTAKES, 1):
            caught_by = ", ".join(one.id for one in select(mistake.clauses)) if mistake.clauses else mistake.elsewhere
            typer.echo(f"{number:2}. {mistake.what}\n        {caught_by}")
        return
    try:
        chosen = select(clause or ())
    except ValueError as error:
        _stop(str(error))
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
    return found


def _stop(message: str) -> NoReturn:
    typer.echo(f"satchel-conformance: {message}", err=True)
    raise typer.Exit(2)
