"""Storages that list too much or too little, and whose batches are not what single calls are."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Alone, Correct
from satchel import ANY, Expected, Payload, UnsupportedValueError
from satchel.keys import escape


@planted("R0-listing-empty", others=True)
class ListsMeta(Correct):
    """A record of the storage's own is listed."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield page
        if prefix == self._prefix:
            yield [prefix + "__schema__"]


@planted("R0-listing-empty", shared=False)
class NoIndexYet(Alone):
    """Before anything was written there is no index to list."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        if not self.world.ever:
            raise LookupError("no such index")
        async for page in super().pages(prefix):
            yield page


@planted("R0-listing-complete")
class OnePage(Correct):
    """Only the first page is listed, as when SCAN's cursor is ignored."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        names = [name async for page in super().pages(prefix) for name in page]
        yield names[:500]


@planted("R0-listing-complete", "R0-listing-during-writes")
class OverlappingPages(Correct):
    """Pages overlap, and the keys at their ends come twice."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        last: list[str] = []
        async for page in super().pages(prefix):
            yield [*last, *page]
            last = [page[-1]] if len(page) == 100 else []


@planted("R0-listing-current", others=True)
class ListsDeleted(Correct):
    """The index of keys keeps what was deleted."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self.world.notes[name] = True
        return await super().put(name, payload, expected)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        names = [name for name in {**self.rows, **self.world.notes} if name.startswith(prefix)]
        yield [name for name in names if name not in self.rows or self.alive(name)]


@planted("R0-listing-current", others=True)
class ListsEveryWrite(Correct):
    """The index of keys has an entry for every write."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self.world.notes[name] = self.world.notes.get(name, 0) + 1
        return await super().put(name, payload, expected)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield [name for name in page for _ in range(self.world.notes.get(name, 1))]


@planted("R0-listing-current", shared=False)
class ListsAgain(Alone):
    """The index is brought up to date when it is read, and a key that was deleted and written since is in it twice."""

    was_absent = False

    def is_at(self, name: str, expected: Expected) -> bool:
        self.was_absent = self.alive(name) is None
        return super().is_at(name, expected)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        version = await super().put(name, payload, expected)
        self.world.notes[name] = self.world.notes.get(name, 0) + self.was_absent
        return version

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        since = dict(self.world.notes)
        self.world.notes.clear()
        async for page in super().pages(prefix):
            yield [name for name in page for _ in range(since.get(name, 0) or 1)]


@planted("R0-listing-versioned", shared=False)
class ListsDeletedVersions(Alone):
    """What a versioned write created is still listed when it was deleted."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is not ANY:
            self.world.notes[name] = self.rows
        return await super().put(name, payload, expected)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield page
        yield [name for name in self.world.notes if name.startswith(prefix) and name not in self.rows]


@planted("R1-model")
class ListsDeletedBatches(Correct):
    """What delete_many deleted is still listed, until it is deleted alone."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self.world.notes.pop(name, None)
        return await super().drop(name, expected)

    async def drop_many(self, names: Sequence[str]) -> None:
        self.world.notes.update({name: True for name in names if name in self.rows})
        await super().drop_many(names)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield page
        yield [name for name in self.world.notes if name.startswith(prefix) and name not in self.rows]


@planted("R0-listing-prefix")
class PrefixIsUTF16(Correct):
    """Of a character beyond 16 bits, a prefix compares the first half."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        wanted = prefix.encode("utf-16-le")[:-2] if prefix[-1] > "\uffff" else prefix.encode("utf-16-le")
        async for page in super().pages(self._prefix):
            yield [name for name in page if name.encode("utf-16-le").startswith(wanted)]


@planted("R0-listing-prefix", "R4-any-key-listed")
class PrefixIgnoresCase(Correct):
    """A prefix is compared without case, as by SQLite's LIKE."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(self._prefix):
            yield [name for name in page if name.lower().startswith(prefix.lower())]


@planted("R0-listing-prefix", others=True)
class PrefixIsPart(Correct):
    """A prefix ends where a part of the key does."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        whole = prefix == self._prefix
        async for page in super().pages(prefix):
            yield [name for name in page if whole or name[len(prefix) :][:1] in ("", ":") or prefix.endswith(":")]


@planted("R0-listing-no-patterns", shared=False)
class PrefixIsPattern(Alone):
    """A prefix is a pattern, as with SCAN MATCH."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(self._prefix):
            yield [name for name in page if fnmatchcase(name, prefix + "*")]


@planted("R0-listing-spelling", "R4-any-key-listed", others=True)
class ListsEscaped(Correct):
    """Keys are listed as they are stored, escaped."""

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for key in super().keys(prefix):
            yield escape(key)


@planted("R0-listing-spelling")
class CutsListed(Correct):
    """Keys are listed up to their 255th character."""

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for key in super().keys(prefix):
            yield key[:255]


@planted("R0-listing-can-stop")
class OneCursor(Correct):
    """All listings share one cursor."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        self.world.notes["cursor"] = 0
        while True:
            start = self.world.notes["cursor"]
            names = [name async for page in super().pages(prefix) for name in page][start : start + 100]
            if not names:
                return
            self.world.notes["cursor"] = start + 100
            yield names


@planted("R0-listing-during-writes")
class PagesByOffset(Correct):
    """Pages are counted from the start, which moves while others write."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        start = 0
        while names := sorted([name async for page in super().pages(prefix) for name in page])[start : start + 25]:
            yield names
            start += 25


@planted("R0-listing-during-writes")
class PagesByOffsetAtOnce(Correct):
    """Small pages are counted from the start, each in one step that no write comes into."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        start = 0
        while names := sorted(name for name in self.rows if name.startswith(prefix) and self.alive(name))[start:][:10]:
            yield names
            start += 10


@planted("R0-batch-any-iterable")
class IteratesTwice(Correct):
    """read_many goes through the keys twice, and of a generator nothing is left."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        found = await super().read_many(keys)
        return {key: found[key] for key in keys if key in found}


@planted("R0-batch-read", others=True)
class ReadsNone(Correct):
    """read_many gives None for what is not there."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        wanted = list(keys)
        return {**dict.fromkeys(wanted), **await super().read_many(wanted)}


class Found(dict[str, Any]):
    """A driver's own kind of dict."""


@planted("R0-batch-read")
class ReadsOwnDict(Correct):
    """read_many gives a dict of the driver's own kind."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        return Found(await super().read_many(keys))


@planted("R0-batch-write", shared=False)
class UpdatesOnly(Alone):
    """Of three records or more, of which one is there already, write_many updates that one only."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        there = {name: payload for name, payload in payloads.items() if self.alive(name) is not None}
        await super().put_many(there if there and len(payloads) > 2 else payloads)


@planted("R0-batch-write", "R2-any-value-batch", others=True)
class WritesLastValue(Correct):
    """write_many gives every key the last value."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        await super().put_many(dict.fromkeys(payloads, list(payloads.values())[-1]))


@planted("R0-batch-delete")
class DeletesUpToAbsent(Correct):
    """delete_many ends where a key is not there."""

    async def drop_many(self, names: Sequence[str]) -> None:
        for name in names:
            if self.rows.pop(name, None) is None:
                return


@planted("R0-batch-empty")
class EmptyBatchRaises(Correct):
    """An empty batch raises, as `IN ()` does."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        wanted = list(keys)
        if not wanted:
            raise ValueError("syntax error near )")
        return await super().read_many(wanted)


@planted("R0-batch-empty")
class EmptyDeleteIsAll(Correct):
    """delete_many of nothing deletes everything."""

    async def delete_many(self, keys: Iterable[str]) -> None:
        wanted = list(keys)
        await super().delete_many(wanted or [key async for key in self.keys()])


@planted("R0-batch-duplicates")
class RefusesDuplicates(Correct):
    """A key may not come twice in a batch, as with DynamoDB."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        wanted = list(keys)
        if len(set(wanted)) < len(wanted):
            raise ValueError("duplicates")
        return await super().read_many(wanted)


@planted("R0-batch-large")
class SmallBatches(Correct):
    """A batch has up to 500 keys, and what is more is not done."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        await super().put_many(dict(islice(payloads.items(), 500)))


@planted("R0-batch-refuses-wholly")
class WritesUpToRefused(Correct):
    """write_many writes what comes before a value that it refuses."""

    async def write_many(self, values: Mapping[str, Any]) -> None:
        try:
            await super().write_many(values)
        except UnsupportedValueError:
            for key, value in values.items():
                await self.write(key, value)
            raise


@planted("R0-batch-refuses-wholly", others=True)
class WritesOneByOne(Correct):
    """write_many writes one by one, up to the first that is refused."""

    async def write_many(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            await self.write(key, value)


@planted("R0-batch-refuses-wholly")
class BatchDeletesNone(Correct):
    """write_many takes None for a value that is to be deleted."""

    async def write_many(self, values: Mapping[str, Any]) -> None:
        await self.delete_many([key for key, value in values.items() if value is None])
        await super().write_many({key: value for key, value in values.items() if value is not None})
