"""Records as JSON Lines: `{"key":"chat:42","value":{"pizza":1}}`, one to a line, in UTF-8."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from satchel.codecs import JSON, Codec
from satchel.errors import ConfigurationError, CorruptValueError, StorageError
from satchel.keys import check_key
from satchel.storage import StorageAdapter, V, Versioned
from satchel.upkeep.batches import Batches, listed
from satchel.upkeep.outcomes import Outcome, Progress, Result, Summary, counting
from satchel.upkeep.placing import Placing
from satchel.upkeep.verbatim import refuse_verbatim
from satchel.wrappers.base import checked

_CHUNK: Final = 256 * 1024  # bytes of lines that are read in one go

Line = tuple[str, Any]
"""A key and a value, as a tree of JSON."""


async def export_lines(
    storage: StorageAdapter[V], file: IO[bytes] | Path, *, prefix: str = "", progress: Progress | None = None
) -> Summary:
    """Write every record to a file, in no particular order.

    Args:
        storage: one that can list its keys.
        file: one that is open for writing, or the path of one that is written aside and then moved to its place, so
            that it is whole or not there; what was there before is replaced. Only its owner can read it.
        prefix: only keys that start with it.
        progress: is told what became of each record.

    Returns:
        how many records were written, failed to be read, or were gone when they were to be read.

    Raises:
        ConfigurationError: the storage cannot list its keys, or the file not be written.
        StorageUnavailableError: it is away.
    """
    keys = listed(checked(storage))
    code: Codec[Any] = getattr(storage, "codec", JSON).plain
    refuse_verbatim(code)
    summary, batches, writing = Summary(), Batches(), asyncio.Lock()
    tell = counting(summary, progress)

    async def write(out: IO[bytes], batch: Sequence[str]) -> None:
        values, errors = await batches.read(storage, batch)
        lines: dict[str, bytes] = {}
        for key, value in values.items():
            try:
                lines[key] = b'{"key":%s,"value":%s}\n' % (
                    json.dumps(key, ensure_ascii=False).encode(),
                    _of(code, value),
                )
            except StorageError as error:
                errors[key] = error
        batches.weigh(len(batch), sum(map(len, lines.values())))
        async with writing:
            await asyncio.to_thread(out.write, b"".join(lines.values()))
        for key in batch:
            if key in errors:
                tell(Outcome(key, Result.FAILED, str(errors[key])))
            else:
                tell(Outcome(key, Result.DONE if key in lines else Result.GONE))

    with _opened(file) as out:
        await batches.each(keys.keys(prefix), partial(write, out))
    return summary


async def import_lines(
    storage: StorageAdapter[V],
    file: IO[bytes],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Write the records of a file, which is read twice: the first time to see that every line is right.

    Records are placed as `satchel.upkeep.copy` places them: created where there are none, compared where there are,
    read back. An interrupted import is finished by doing it again.

    Args:
        storage: where they go.
        file: one that is open for reading at its start, and can be read again from there.
        overwrite: write over what differs.
        progress: is told what became of each record.

    Raises:
        CorruptValueError: a line, which the message names by its number, is no record. Nothing was written.
        ConfigurationError: the storage cannot create a record only where there is none.
        StorageUnavailableError: it is away. Do it again to go on.
    """
    target = checked(storage)
    code: Codec[Any] = getattr(storage, "codec", JSON).plain
    refuse_verbatim(code)
    if not overwrite and not isinstance(target, Versioned):
        raise ConfigurationError(f"{storage!r} has no versions, so only overwrite=True can write to it")
    start = file.tell()
    async for _ in _records(file, code):
        pass
    await asyncio.to_thread(file.seek, start)
    summary, batches = Summary(), Batches()
    placing = Placing(target, batches, counting(summary, progress), "", "", overwrite=overwrite)

    async def place(batch: Sequence[Line]) -> None:
        rest = batch
        while rest:  # a key that comes twice is placed twice
            here: dict[str, Any] = {}
            later: list[Line] = []
            for key, value in rest:
                if key in here:
                    later.append((key, value))
                else:
                    here[key] = value
            await placing.place(list(here), _constant(here))
            rest = later

    await batches.each(_records(file, code), place)
    return summary


def _constant(here: dict[str, Any]) -> Callable[[Sequence[str]], Any]:
    async def look(keys: Sequence[str]) -> tuple[dict[str, Any], dict[str, StorageError]]:
        return {key: here[key] for key in keys}, {}

    return look


async def _records(file: IO[bytes], code: Codec[Any]) -> AsyncIterator[Line]:
    """Read the lines of a file, and raise for the first one that is no record."""
    number = 0
    while lines := await asyncio.to_thread(file.readlines, _CHUNK):
        for record in await asyncio.to_thread(_parsed, lines, number, code):
            yield record
        number += len(lines)


def _parsed(lines: Sequence[bytes], before: int, code: Codec[Any]) -> list[Line]:
    records: list[Line] = []
    for number, line in enumerate(lines, before + 1):
        if not line.strip():
            continue
        try:
            found = JSON.decode(line)
            if not isinstance(found, dict) or found.keys() != {"key", "value"}:
                raise CorruptValueError('not an object of "key" and "value"')
            tree = JSON.encode(found["value"])
            records.append((check_key(found["key"]), found["value"] if code is JSON else code.decode(tree)))
        except StorageError as error:
            raise CorruptValueError(f"line {number} is no record: {error}; nothing was written") from None
    return records


def _of(code: Codec[Any], value: Any) -> bytes:
    encoded = code.encode(value)
    if code is not JSON:
        JSON.decode(encoded)
    return encoded


@contextmanager
def _opened(file: IO[bytes] | Path) -> Iterator[IO[bytes]]:
    """Open a path to be written aside, and moved to its place if the block ends well."""
    if not isinstance(file, Path):
        yield file
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.absolute().parent)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        aside.replace(file)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
