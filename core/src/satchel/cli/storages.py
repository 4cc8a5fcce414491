"""The storages that commands are about: opened by a URL, or made by a function of the user's."""

import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import entry_points
from inspect import isawaitable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from satchel.cli.common import raised
from satchel.codecs import JSON, Codec
from satchel.errors import ConfigurationError, SatchelError
from satchel.sessions import asynchronous
from satchel.storage import Lifecycle, StorageAdapter
from satchel.upkeep.verbatim import VERBATIM
from satchel.urls import GROUP, open_storage
from satchel.wrappers.base import checked

KEYS: Final = "SATCHEL_KEYS"
"""The environment variable that holds keys of encryption."""


_FACTORY: Final = re.compile(r"[\w.]+:[\w.]+")


Stored = Literal["json", "compressed", "encrypted", "compressed+encrypted"]
"""How values are stored."""

AnyStored = Literal[Stored, "raw"]
"""The same, where no value has to be shown or made."""

_HELP: Final = f"How values are stored; the keys of what is encrypted are in {KEYS}."

CodecOption = Annotated[Stored, typer.Option("--codec", help=_HELP)]
AnyCodecOption = Annotated[
    AnyStored,
    typer.Option(
        "--codec", help=f"{_HELP} Raw: what is compressed or encrypted passes through as it is; takes no keys."
    ),
]


async def make(storage: str, stored: AnyStored = "json", **options: Any) -> StorageAdapter[Any]:
    """Make the storage that an argument names; nothing is connected.

    Raises:
        ConfigurationError: there is none.
    """
    if "://" in storage:
        codec = _codec(stored)
        return open_storage(storage, **options | ({} if codec is JSON else {"codec": codec}))
    if not _FACTORY.fullmatch(storage):
        # It is not shown: it may be a URL with a slash too few, and a password.
        raise ConfigurationError("a storage is a URL, such as sqlite:///bot.db, or MODULE:FACTORY, as in mybot.db:make")
    if stored != "json":
        raise ConfigurationError(f"--codec is for URLs: {storage} makes its storage with a codec of its own")
    try:
        made: Any = load(storage)
    except ConfigurationError:
        scheme = storage.partition(":")[0].lower()
        if entry_points(group=GROUP, name=scheme):  # again not shown
            slashes = "///" if scheme in ("file", "sqlite") else "//"
            raise ConfigurationError(f"a URL for {scheme} is written {scheme}:{slashes}…") from None
        raise
    try:
        if callable(made):
            made = made()
        if isawaitable(made):
            made = await made
    except SatchelError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{storage} raised {raised(error)}") from error
    return checked(asynchronous(made))


@asynccontextmanager
async def opened(storage: str, stored: AnyStored = "json", **options: Any) -> AsyncIterator[StorageAdapter[Any]]:
    """Open the storage that an argument names, for the length of a block."""
    async with using(await make(storage, stored, **options)) as made:
        yield made


@asynccontextmanager
async def using(storage: StorageAdapter[Any]) -> AsyncIterator[StorageAdapter[Any]]:
    """Set a storage up, and close it at the end of the block."""
    try:
        if isinstance(storage, Lifecycle):
            await storage.setup()
        yield checked(storage)
    finally:
        if isinstance(storage, Lifecycle):
            await storage.aclose()


def existing(storage: str) -> Mapping[str, Any]:
    """Return the options with which a storage is opened that has to be there: nothing is created for a wrong name."""
    return {"create": False} if "://" in storage else {}


def load(target: str) -> Any:
    """Return what MODULE:NAME names; modules are looked for in the current folder first.

    Raises:
        ConfigurationError: it is not there, or its module cannot be imported.
    """
    if not _FACTORY.fullmatch(target):
        raise ConfigurationError("what is in Python is named MODULE:NAME, as in mybot.storage:make")
    module, _, name = target.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{target} is not there: {error}") from error
    except Exception as error:
        raise ConfigurationError(f"{target} cannot be imported: {raised(error)}") from error
    finally:
        sys.path.pop(0)
    return found


def _codec(stored: AnyStored) -> Codec[Any]:
    match stored:
        case "json":
            return JSON
        case "compressed":
            return JSON.compressed()
        case "raw":
            return VERBATIM
    if not (keys := os.environ.get(KEYS)):
        raise ConfigurationError(f"--codec {stored} takes the keys of encryption in {KEYS}, which is not set")
    return (JSON.compressed() if stored == "compressed+encrypted" else JSON).encrypted(keys)
