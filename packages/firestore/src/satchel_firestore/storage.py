"""Sessions in Firestore: a document per session, replaced only at the update time that was read."""

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Self, Unpack

from google.api_core import exceptions as driver
from google.cloud.firestore import (
    DELETE_FIELD,
    AsyncClient,
    AsyncDocumentReference,
    AsyncWriteBatch,
    FieldFilter,
)

from satchel import (
    ANY,
    Capabilities,
    ConfigurationError,
    CorruptValueError,
    EncodedStorage,
    Expected,
    Payload,
    StorageError,
    StorageOptions,
    ValueTooLargeError,
)
from satchel.adapter import kind_of
from satchel.storage import V
from satchel_firestore.clients import Line, Place, check_collection, place
from satchel_firestore.documents import (
    Document,
    age_ms,
    from_version,
    has_ended,
    id_range,
    to_fields,
    to_id,
    to_names,
    to_payload,
    to_version,
    version_of,
)
from satchel_firestore.errors import translate
from satchel_firestore.schema import commands

At = Callable[[str], AsyncDocumentReference]

_LARGEST_REQUEST: Final = 10 * 1024 * 1024  # https://cloud.google.com/firestore/quotas, "Maximum API request size"
_PAGE: Final = 500  # documents in one page of a listing
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_NO_END: Final = {"ttl_ms": DELETE_FIELD, "expires_at": DELETE_FIELD}
# There already, there at another update time, or not there.
_REFUSED: Final = (driver.AlreadyExists, driver.FailedPrecondition, driver.NotFound)


class FirestoreStorage(EncodedStorage[V]):
    """One document per session, which lives for `ttl_ms` milliseconds after its update time, by Firestore's own clock.

    A version is the update time, which Firestore can make a condition of a write, with the lifetime before it, so that
    it tells when the record ends. Touching a record changes its version, too.

    A change is sent exactly once: sent again after its answer was lost, a conditional write would meet its own traces
    and report a conflict that there was not.

    Args:
        firestore: a URL, `firestore://project/collection?database=name`, or a client of the driver's, which is used
            with whatever options it has, and not closed.
        collection: the path of the collection; "satchel_sessions" by default.
        options: see `satchel.StorageOptions`. `create` does nothing: Firestore makes a collection with its first
            document, and the rest is an administrator's, as `schema()` has it.
    """

    capabilities = Capabilities(
        versioned=True,
        conditional_delete=True,
        expiring=True,
        ttl_resolution=timedelta(milliseconds=1),
        listing=True,
        batch=True,
        atomic_batch=True,
        transactional=True,
        durable=True,
        # A document has 1 MiB: less 6 KiB for its name and 2 KiB for a long name as a field, and the other fields.
        # https://cloud.google.com/firestore/quotas and https://cloud.google.com/firestore/docs/storage-size
        max_value_bytes=1_040_000,
    )
    round_trips = MappingProxyType({"touch": 2})  # there is no condition on what a document holds: it has to be read
    loop_bound = True

    def __init__(
        self, firestore: str | AsyncClient, *, collection: str | None = None, **options: Unpack[StorageOptions[V]]
    ) -> None:
        if isinstance(firestore, str):
            self._place, options = place(firestore, collection, options)
            self._line = Line(self._place)
        elif isinstance(firestore, AsyncClient):
            self._place = Place(firestore.project, "", check_collection(collection or "satchel_sessions"))
            self._line = Line(firestore)
        else:
            raise ConfigurationError(
                f"FirestoreStorage takes a URL or an AsyncClient of the driver's, not {kind_of(firestore)}"
            )
        super().__init__(where=self._place.where, **options)
        # The driver's deadline comes a little before ours, so that a connection that is silent is known for one.
        self._sending: dict[str, Any] = {"retry": None, "timeout": self.timeout.total_seconds() * 0.9}
        self._clock = time.time() - time.monotonic()  # what Firestore's clock is ahead of the monotonic one

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `firestore://project/collection`; the query may say `database`, and `emulator` or `endpoint`."""
        return cls(url, **options)

    async def open(self) -> None:
        """Find the credentials, and look for a document that is never there: what is wrong shows at once."""
        await self._line.open()
        self.where = self._place.where  # by now the project is known
        await self._look(["-"], [])

    async def close(self) -> None:
        """Wait for the calls that are under way, and close the client, unless it was passed in."""
        await self._line.close()

    async def get(self, name: str) -> Payload | None:
        """Read one document."""
        return (await self.get_many([name])).get(name)

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        """Read one document with its update time."""
        return (await self.get_records([name])).get(name)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Set one document, or create or update it on a condition."""
        if expected is ANY:
            await self._commit(lambda batch, at: batch.set(at(name), self._fields(name, payload)))
            return None
        return (await self.put_records({name: (payload, expected)}) or {}).get(name)

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Delete one document, if need be on a condition."""
        if isinstance(expected, str):
            return await self.put_records({name: (None, expected)}) is not None
        await self._commit(lambda batch, at: batch.delete(at(name)))
        return True

    async def renew(self, name: str) -> bool:
        """Set a new end at the update time that was read; again, if somebody else wrote in between."""
        while (document := (await self._look([name], ["ttl_ms"])).get(name)) is not None and not has_ended(document):
            prolong = partial(self._prolong, name, document.update_time)
            if await self._commit(prolong, unless=_REFUSED) is not None:
                return True
        return False

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """Query for 500 ids at a time, in their order, without the payloads."""
        start, end = id_range(prefix)
        documents = await self._ask(partial(self._page, ">=", start, end))
        yield to_names(documents, prefix)
        while len(documents) == _PAGE:
            documents = await self._ask(partial(self._page, ">", documents[-1].id, end))
            yield to_names(documents, prefix)

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Read the documents in one request."""
        documents = await self._look(names)
        return {name: self._payload(found) for name, found in documents.items() if not has_ended(found)}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """Set the documents in one commit."""
        self._check_size(payloads)

        def fill(batch: AsyncWriteBatch, at: At) -> None:
            for name, payload in payloads.items():
                batch.set(at(name), self._fields(name, payload))

        await self._commit(fill)

    async def drop_many(self, names: Sequence[str]) -> None:
        """Delete the documents in one commit."""
        self._check_size(dict.fromkeys(names, b""))

        def fill(batch: AsyncWriteBatch, at: At) -> None:
            for name in names:
                batch.delete(at(name))

        await self._commit(fill)

    async def get_records(self, names: Sequence[str]) -> dict[str, tuple[Payload, str]]:
        """Read the documents with their update times in one request."""
        documents = await self._look(names)
        return {
            name: (self._payload(found), version_of(found)) for name, found in documents.items() if not has_ended(found)
        }

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        """Create, update and delete in one commit, each document on its condition.

        A document that has ended is in the way of one that is to be created. It shows by its conflict, and then its own
        update time is the condition.
        """
        self._check_size({name: payload or b"" for name, (payload, _) in changes.items()})
        times = {name: self._time_of(expected) for name, (_, expected) in changes.items() if expected is not None}
        if None in times.values():
            return None
        absent = [name for name, (_, expected) in changes.items() if expected is None]
        ended: dict[str, datetime | None] = {}
        while True:
            written = await self._commit(partial(self._change, changes, times | ended), unless=_REFUSED)
            if written is not None:
                pairs = zip(changes, written, strict=True)
                return {name: to_version(time_, self.ttl_ms) for name, time_ in pairs if time_ is not None}
            there = await self._look(absent, ["ttl_ms"]) if absent else {}
            found = {name: document.update_time for name, document in there.items() if has_ended(document)}
            if found == ended or len(found) < len(there):
                return None
            ended = found

    def schema(self) -> str:
        """Return the commands that give a bot its rights, and Firestore the task to remove what has ended."""
        return commands(self._place)

    def translate(self, error: Exception) -> StorageError | None:
        """Say what a status of gRPC's means, as the driver raises it."""
        return translate(error, self.where)

    # In between.

    async def _ask(self, question: Callable[[AsyncClient], AsyncIterable[Document]]) -> list[Document]:
        """Read documents, and if the connection is lost once more."""
        try:
            return await self._ask_once(question)
        except driver.ServiceUnavailable:
            return await self._ask_once(question)

    async def _ask_once(self, question: Callable[[AsyncClient], AsyncIterable[Document]]) -> list[Document]:
        async def listen(client: AsyncClient) -> list[Document]:
            return [document async for document in question(client)]

        if documents := await self._line.call(listen):
            self._clock = documents[-1].read_time.timestamp() - time.monotonic()
        return documents

    async def _look(self, names: Sequence[str], fields: Sequence[str] | None = None) -> dict[str, Document]:
        """Return the documents that exist, those that have ended too."""
        self._check_size(dict.fromkeys(names, b""))
        ids = {to_id(name): name for name in names}

        def documents(client: AsyncClient) -> AsyncIterable[Document]:
            sessions = client.collection(self._place.collection)
            return client.get_all([sessions.document(each) for each in ids], fields, **self._sending)

        return {ids[document.id]: document for document in await self._ask(documents) if document.exists}

    def _page(self, after: str, start: str, end: str, client: AsyncClient) -> AsyncIterable[Document]:
        sessions = client.collection(self._place.collection)
        return (
            sessions.select(["ttl_ms", "name"])
            .where(filter=FieldFilter("__name__", after, sessions.document(start)))
            .where(filter=FieldFilter("__name__", "<", sessions.document(end)))
            .order_by("__name__")
            .limit(_PAGE)
            .stream(**self._sending)
        )

    async def _commit(
        self, fill: Callable[[AsyncWriteBatch, At], None], unless: tuple[type[Exception], ...] = ()
    ) -> list[datetime | None] | None:
        """Send writes and return the update time of each, or None if one of these errors says that none is done."""

        async def commit(client: AsyncClient) -> list[datetime | None] | None:
            batch: Any = client.batch()
            sessions = client.collection(self._place.collection)
            fill(batch, lambda name: sessions.document(to_id(name)))
            try:
                results = await batch.commit(**self._sending)
            except unless:
                return None
            self._clock = batch.commit_time.timestamp() - time.monotonic()
            return [result.update_time for result in results]

        return await self._line.call(commit)

    def _change(
        self,
        changes: Mapping[str, tuple[Payload | None, str | None]],
        times: Mapping[str, datetime | None],
        batch: AsyncWriteBatch,
        at: At,
    ) -> None:
        """Fill a batch with changes of documents that have these update times, or do not exist."""
        for name, (payload, _) in changes.items():
            time_ = times.get(name)
            condition = {"exists": False} if time_ is None else {"last_update_time": time_}
            option = AsyncClient.write_option(**condition)
            if payload is None:
                batch.delete(at(name), option)
            elif time_ is None:
                batch.create(at(name), self._fields(name, payload))
            else:
                batch.update(at(name), _NO_END | self._fields(name, payload), option)

    def _prolong(self, name: str, update_time: datetime, batch: AsyncWriteBatch, at: At) -> None:
        batch.update(at(name), _NO_END | self._end(), AsyncClient.write_option(last_update_time=update_time))

    def _end(self) -> dict[str, Any]:
        """Return the lifetime, and when Firestore may remove the document: no sooner than it has ended."""
        if self.ttl_ms is None:
            return {}
        try:
            end = self._now() + self.timeout + timedelta(milliseconds=self.ttl_ms)
        except OverflowError:
            end = _LAST
        return {"ttl_ms": self.ttl_ms, "expires_at": end}

    def _time_of(self, version: str) -> datetime | None:
        """Return the update time that a version means, or None if it means none, or a record that has ended since."""
        if (meant := from_version(version)) is None:
            return None
        update_time, ttl_ms = meant
        return None if ttl_ms is not None and age_ms(update_time, self._now()) >= ttl_ms else update_time

    def _now(self) -> datetime:
        """Return the time by Firestore's clock, as its last answer had it."""
        return datetime.fromtimestamp(self._clock + time.monotonic(), UTC)

    def _fields(self, name: str, payload: Payload) -> dict[str, Any]:
        return to_fields(name, payload.decode() if self.codec.is_text else payload, self._end())

    def _payload(self, document: Document) -> Payload:
        payload = to_payload(document)
        if payload is None:
            raise CorruptValueError(f"{self.where} holds a document without a payload under this key")
        return payload

    def _check_size(self, payloads: Mapping[str, Payload]) -> None:
        """Refuse what is too large for one request: with field names, and ids of up to three times the name."""
        size = sum(len(payload) + 4 * len(name.encode()) + len(self.where) + 200 for name, payload in payloads.items())
        if size > _LARGEST_REQUEST:
            message = f"a batch of {len(payloads)} has up to {size} bytes; {self.where} takes {_LARGEST_REQUEST}"
            raise ValueTooLargeError(message, size=size, limit=_LARGEST_REQUEST)
