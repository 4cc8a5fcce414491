"""Commands that change what is stored: `erase`, `purge`, `migrate`."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any

import typer

from satchel.cli.common import (
    Code,
    Json,
    Prefix,
    Storage,
    Yes,
    confirm,
    dump,
    errors_in_one_line,
    many,
    plain,
    run,
    say,
    stop,
)
from satchel.cli.progress import Verbose, tallied
from satchel.cli.storages import CodecOption, existing, load, make, opened, using
from satchel.errors import ConfigurationError
from satchel.storage import Expiring, Listing, StorageAdapter
from satchel.upkeep.erasing import erase as erase_keys
from satchel.upkeep.erasing import find_user
from satchel.upkeep.migrating import migrate as migrate_all
from satchel.upkeep.outcomes import Progress, Result

_MIGRATED = {Result.DONE: "migrated", Result.SAME: "up to date", Result.FAILED: "failed"}


def erase(
    storages: Annotated[list[str], typer.Argument(metavar="STORAGE...", help="All places where a bot's data is.")],
    user: Annotated[str, typer.Option(metavar="ID", help="Whose data: the user's id, as it is in session keys.")],
    namespace: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Look in this namespace of each URL instead of its own; repeatable."),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Erase also where the id is another part of the key, as in chat:ID.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase one person's records: all whose key has the parts user:ID, in all storages and namespaces named.

    It shows what it found and asks, erases, and looks again. Records with the id elsewhere in the key are shown too:
    chat:ID is the same person in a private chat of Telegram's. What values say about a person is not looked at.
    """

    async def look(then_erase: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with AsyncExitStack() as stack:
            for one in await _each(storages, namespace):
                storage = await stack.enter_async_context(using(one))
                place = _place(storage)
                if not isinstance(storage, Listing):
                    found.append({**place, "listing": False})
                    continue
                named = await find_user(storage, user)
                wanted = named.user + (named.elsewhere if everywhere else [])
                if then_erase:
                    await erase_keys(storage, wanted)
                    left = await find_user(storage, user)
                    remaining = left.user + (left.elsewhere if everywhere else [])
                    found.append({**place, "listing": True, "erased": len(wanted), "remaining": remaining})
                else:
                    elsewhere = [] if everywhere else named.elsewhere
                    found.append({**place, "listing": True, "found": wanted, "elsewhere": elsewhere})
        return found

    before = run(look(then_erase=False))
    unlisted = [one for one in before if not one["listing"]]
    for one in before:
        _tell_found(one)
    count = sum(len(one.get("found", ())) for one in before)
    after: list[dict[str, Any]] = []
    if count:
        confirm(f"Erase {many(count, 'record')} of user {plain(user)}?", yes)
        after = run(look(then_erase=True))
        for one in after:
            for key in one.get("remaining", ()):
                say(f"{plain(key)} is in {one['storage']} again: is a bot of theirs still running?")
    remaining = sum(len(one.get("remaining", ())) for one in after)
    if as_json:
        dump({"user": user, "found": before, "erased": sum(one.get("erased", 0) for one in after), "after": after})
    else:
        typer.echo(f"{many(count, 'record')} erased, {remaining} remaining" if count else "nothing is there to erase")
    raise typer.Exit(Code.PARTLY if remaining or unlisted else Code.OK)


def purge(storage: Storage, as_json: Json = False) -> None:
    """Remove the records that have expired, which nobody can read any more. Most backends do it by themselves."""

    async def work() -> int:
        async with opened(storage, **existing(storage)) as target:
            if not isinstance(target, Expiring):
                raise ConfigurationError(f"{target!r} has no records that expire")
            return await target.purge_expired()

    count = run(work())
    if as_json:
        dump({"purged": count})
    else:
        typer.echo(f"{many(count, 'record')} purged")


def migrate(
    storage: Storage,
    migrations: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="The migrations that Sessions takes: {1: function, …}.")
    ],
    version: Annotated[int | None, typer.Option(help="Today's version, if it is above the last migration's.")] = None,
    prefix: Prefix = "",
    codec: CodecOption = "json",
    verbose: Verbose = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Store all sessions in today's layout, while bots run. Those that cannot be stay as they are. It asks first."""

    async def work(tell: Progress) -> None:
        async with using(await make(storage, codec, **existing(storage))) as target:
            await migrate_all(target, found, version=version, prefix=prefix, progress=tell)

    with errors_in_one_line():
        found = load(migrations)
        if not isinstance(found, Mapping):
            raise ConfigurationError(f"{migrations} is no mapping of versions to functions")
    confirm("Migrate all sessions that are in an older layout?", yes)
    again = "Do the same again to go on."
    tallied(_MIGRATED, work, again=again, as_json=as_json, verbose=verbose)


async def _each(storages: list[str], namespaces: list[str] | None) -> list[StorageAdapter[Any]]:
    made: list[StorageAdapter[Any]] = []
    for storage in storages:
        if namespaces and "://" not in storage:
            stop(f"--namespace is for URLs: {storage} makes its storage with one of its own", Code.USAGE)
        options: list[dict[str, str]] = [{"namespace": name} for name in namespaces or ()] or [{}]
        made += [await make(storage, "json", **existing(storage), **each) for each in options]
    return made


def _place(storage: Any) -> dict[str, str]:
    return {
        "storage": getattr(storage, "where", type(storage).__name__),
        "namespace": getattr(storage, "namespace", ""),
    }


def _tell_found(one: dict[str, Any]) -> None:
    place = f"{one['storage']}, namespace {one['namespace']}" if one["namespace"] else one["storage"]
    if not one["listing"]:
        say(f"{place}: cannot list its keys, so nothing was looked for there; delete them by their keys")
        return
    for key in one["found"]:
        say(f"{place}: {plain(key)}")
    for key in one["elsewhere"]:
        say(f"{place}: {plain(key)} has the id elsewhere, and is kept; --everywhere erases it")
