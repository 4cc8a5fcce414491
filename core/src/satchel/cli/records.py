"""Commands about single records: `keys`, `get`, `set`, `delete`, `rename`."""

import json
import sys
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
    stop,
)
from satchel.cli.storages import AnyCodecOption, CodecOption, existing, opened
from satchel.codecs import JSON
from satchel.errors import ConfigurationError, CorruptValueError, UnsupportedValueError
from satchel.keys import check_key, show
from satchel.sessions import Sessions
from satchel.storage import Versioned
from satchel.upkeep.batches import listed
from satchel.upkeep.erasing import erase
from satchel.wrappers.base import closing

Key = Annotated[str, typer.Argument(metavar="KEY", help="The session key, such as chat:42.")]


def keys(storage: Storage, prefix: Prefix = "", as_json: Json = False) -> None:
    """List the keys, one to a line, in no particular order.

    A key that is no line of text is quoted; --json prints each as {"key": …}.
    """

    async def work() -> None:
        async with opened(storage, **existing(storage)) as source, closing(listed(source).keys(prefix)) as found:
            async for key in found:
                if as_json:
                    dump({"key": key})
                else:
                    typer.echo(plain(key))

    run(work())


def get(storage: Storage, key: Key, codec: CodecOption = "json", as_json: Json = False) -> None:
    """Print the value under a key as it is stored, with what sessions keep beside their data.

    --json prints {"key": …, "value": …, "version": …} in one line.
    """

    async def work() -> tuple[Any, str | None]:
        async with opened(storage, codec, **existing(storage)) as source:
            value, version = None, None
            if not isinstance(source, Versioned):
                value = await source.read(key)
            elif (record := await source.read_versioned(key)) is not None:
                value, version = record
            code = getattr(source, "codec", JSON).plain
            return value if value is None or code is JSON else JSON.decode(code.encode(value)), version

    with errors_in_one_line():
        check_key(key)
    value, version = run(work())
    if value is None:
        stop(f"there is no {show(key)}", Code.OTHERWISE)
    if as_json:
        dump({"key": key, "value": value, "version": version})
    else:
        typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def set_(
    storage: Storage,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="[VALUE]", help="JSON; - reads standard input.")] = "-",
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Only if there is no such record yet.")] = False,
    codec: CodecOption = "json",
    as_json: Json = False,
) -> None:
    """Store a value, over whatever is there. It is JSON, and is checked before anything is sent."""

    async def work(found: Any) -> None:
        async with opened(storage, codec) as target:
            if not if_absent:
                await target.write(key, found)
            elif isinstance(target, Versioned):
                await target.write_versioned(key, found, None)
            else:
                raise ConfigurationError(f"{target!r} has no versions, which --if-absent takes")

    with errors_in_one_line():
        check_key(key)
    payload = sys.stdin.buffer.read() if value == "-" else value.encode(errors="surrogateescape")
    try:
        found = JSON.decode(payload)
        JSON.encode(found)
        _check_names(payload)
    except CorruptValueError as error:
        stop(f"the value is {error}", Code.USAGE)
    except UnsupportedValueError as error:
        stop(f"the value is refused: {error}", Code.USAGE)
    run(work(found))
    if as_json:
        dump({"key": key})


def delete(
    storage: Storage,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="The session keys.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete records, whatever is in them. It asks first; a key that is not there is no error."""

    async def work() -> None:
        async with opened(storage, **existing(storage)) as target:
            await erase(target, keys)

    with errors_in_one_line():
        for key in keys:
            check_key(key)
    shown = ", ".join(map(show, keys[:5])) + (", …" if keys[5:] else "")
    confirm(f"Delete {many(len(keys), 'record')}: {shown}?", yes)
    run(work())
    if as_json:
        dump({"deleted": keys})


def rename(
    storage: Storage,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The key of the session.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The key that it is to have.")],
    codec: AnyCodecOption = "json",
    as_json: Json = False,
) -> None:
    """Move a session to another key, as when a group becomes a supergroup.

    It is written before it is removed; an interrupted rename is finished by doing it again. Nothing is overwritten.
    """

    async def work() -> bool:
        async with opened(storage, codec, **existing(storage)) as target:
            return await Sessions[Any](target).rename(old, new)

    with errors_in_one_line():
        for key in (old, new):
            check_key(key)
    if not run(work()):
        stop(f"there is no {show(old)}", Code.OTHERWISE)
    if as_json:
        dump({"renamed": old, "to": new})


def _check_names(payload: bytes) -> None:
    """Refuse an object with a name twice, of which Python would keep the last."""

    def refuse_twice(members: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in members]
        if len(set(names)) < len(names):
            raise CorruptValueError(f"ambiguous: an object has the name {show(max(names, key=names.count))} twice")

    json.loads(payload, object_pairs_hook=refuse_twice)
