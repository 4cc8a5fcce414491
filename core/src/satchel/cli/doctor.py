"""Commands that look at a storage itself: `schema`, `doctor`."""

from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from re import match
from typing import Annotated, Any

import typer

from satchel.adapter import EncodedStorage
from satchel.cli.common import Code, Json, Storage, dump, run, say
from satchel.cli.storages import make
from satchel.errors import ReadOnlyError
from satchel.foreign.storage import ForeignStorage
from satchel.storage import Lifecycle
from satchel.upkeep.trying import Report, try_out
from satchel.urls import GROUP, storage_class
from satchel.wrappers.base import capabilities_of
from satchel.wrappers.readonly import ReadOnly


def schema(storage: Storage, as_json: Json = False) -> None:
    """Print what an administrator creates for a storage: tables, indexes, rights. Nothing is connected."""

    async def work() -> str:
        made = await make(storage)
        return made.schema().strip() if isinstance(made, EncodedStorage) else ""

    text = run(work())
    if as_json:
        dump({"schema": text})
    else:
        typer.echo(text or f"{storage.split(':', maxsplit=1)[0]}: there is nothing to set up")


def doctor(
    storage: Storage,
    namespace: Annotated[
        str, typer.Option(metavar="NAME", help="Where the probe is written; the bot's, if its user may in no other.")
    ] = "satchel-doctor",
    create: Annotated[
        bool, typer.Option("--create", help="Create what is missing, such as tables, as the bot would.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often each operation is timed.")] = 11,
    as_json: Json = False,
) -> None:
    """Try a storage out: reach it, write, read, list and delete a probe, and time it all.

    Exits with 1 if anything does not work, and says why.
    """

    async def work() -> tuple[Any, Report]:
        made: Any = await make(storage, **_options(storage, namespace, create=create))
        try:
            if isinstance(made, ForeignStorage | ReadOnly):
                raise ReadOnlyError(f"{made!r} is read-only, and to try a storage out is to write to it")
            return made, await try_out(made, rounds=rounds)
        finally:
            if isinstance(made, Lifecycle):
                await made.aclose()

    made, report = run(work())
    where = getattr(made, "where", type(made).__name__)
    capabilities = {name: _shown(value) for name, value in asdict(capabilities_of(made)).items()}
    versions = _versions(storage)
    if as_json:
        steps = [asdict(step) for step in report.steps]
        told = {"storage": where, "server": report.server, "versions": versions, "capabilities": capabilities}
        dump({"fine": report.is_fine, **told, "steps": steps})
    else:
        _print(where, report, versions, capabilities)
    for step in report.steps:
        if step.why:
            say(f"{step.name}: {step.why}")
    if not report.is_fine:
        say(_hint(report, namespace))
        raise typer.Exit(Code.FAILED)


def _options(storage: str, namespace: str, *, create: bool) -> dict[str, Any]:
    if "://" not in storage:
        return {}
    # A foreign storage takes no namespace, and would say that first.
    options = {} if issubclass(storage_class(storage), ForeignStorage) else {"namespace": namespace}
    return options | ({} if create else {"create": False})


def _print(where: str, report: Report, versions: dict[str, str], capabilities: dict[str, Any]) -> None:
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    typer.echo(f"{where}\n{f'{report.server}; ' if report.server else ''}{packages}\n")
    for step in report.steps:
        typer.echo(f"{step.name:<20}{'failed' if step.milliseconds is None else f'{step.milliseconds:10.3f} ms'}")
    typer.echo()
    for name, value in capabilities.items():
        words = {True: "yes", False: "no", None: "no limit" if name.startswith("max") else "none"}
        typer.echo(f"{name:<20}{words[value] if value is None or isinstance(value, bool) else value}")


def _hint(report: Report, namespace: str) -> str:
    if report.steps[0].why:
        return "it cannot be reached, or is not set up: `satchel schema` prints what it needs, --create creates it"
    return f"the user may not do everything in namespace {namespace}; --namespace tries another one, such as the bot's"


def _versions(storage: str) -> dict[str, str]:
    """Return the versions of the packages that a URL's scheme is served by, and of what they need."""
    found = {"satchel": version("satchel")}
    for entry in entry_points(group=GROUP, name=storage.split("://", maxsplit=1)[0].lower()):
        if entry.dist is not None:
            found[entry.dist.name] = entry.dist.version
            for requirement in requires(entry.dist.name) or ():
                name = match(r"[\w.-]+", requirement)
                if name is not None and "extra ==" not in requirement:
                    try:
                        found[name[0]] = version(name[0])
                    except PackageNotFoundError:
                        continue  # not for this platform
    return found


def _shown(value: Any) -> Any:
    return f"{value / timedelta(milliseconds=1):g} ms" if isinstance(value, timedelta) else value
