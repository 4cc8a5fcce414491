"""Sessions in MongoDB: a document per session, ended by the server's clock and removed by a TTL index."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final, Self, Unpack

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient, DeleteOne, UpdateOne
from pymongo import errors as driver
from pymongo.read_preferences import ReadPreference

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
)
from satchel.adapter import kind_of, logger
from satchel.keys import after
from satchel.settling import together
from satchel.storage import V
from satchel_mongodb.clients import READ, WRITE, connect, where
from satchel_mongodb.errors import translate
from satchel_mongodb.expressions import ALIVE, CONFLICTS, ENDED, NEW, at, only, version_in

# A lifetime may be so long that it ends in a year that Python has not.
_CODEC: Final = CodecOptions[dict[str, Any]](datetime_conversion=DatetimeConversion.DATETIME_MS)
_FIELDS: Final = {"payload": 1, "version": 1}
_FIELDS_AND_END: Final = {**_FIELDS, "ended": ENDED}
_PAGE: Final = 500  # names in one answer
_NAMES: Final = 5000  # names in one question: it is a document, too, of 16 MiB at most


class MongoDBStorage(EncodedStorage[V]):
    """One document per session, whose `_id` is `namespace:key`, through a client of pymongo's.

    Writes are acknowledged by a majority, reads come from the primary, whatever the client does else.

    Args:
        mongodb: MongoDB's own connection string, or an `AsyncMongoClient`, which is used with whatever options it has,
            and not closed.
        database: the one that the connection string names, or else "satchel".
        collection: "satchel_sessions" by default.
        options: see `satchel.StorageOptions`.
    """

    capabilities = Capabilities(
        versioned=True,
        conditional_delete=True,
        expiring=True,
        ttl_resolution=timedelta(milliseconds=1),
        listing=True,
        batch=True,
        versioned_batch=True,
        durable=True,
        # A document is at most 16 MiB, with the longest name, its version, its end, and what stands between them.
        # https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-BSON-Document-Size
        max_value_bytes=16 * 1024 * 1024 - 2048,
    )
    loop_bound = True
    default_database: ClassVar[str] = "satchel"
    default_collection: ClassVar[str] = "satchel_sessions"

    def __init__(
        self,
        mongodb: str | AsyncMongoClient[Any],
        *,
        database: str | None = None,
        collection: str | None = None,
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        self._owned = isinstance(mongodb, str)
        if isinstance(mongodb, str):
            mongodb, said, options = connect(mongodb, options)
            collection = said if collection is None else collection
        elif not isinstance(mongodb, AsyncMongoClient):
            raise ConfigurationError(f"MongoDBStorage takes a URL or an AsyncMongoClient, not {kind_of(mongodb)}")
        collection = self.default_collection if collection is None else collection
        named = mongodb.get_default_database(self.default_database).name if database is None else database
        try:
            records = mongodb.get_database(named).get_collection(
                collection, _CODEC, ReadPreference.PRIMARY, WRITE, READ
            )
        except (driver.InvalidName, TypeError) as error:
            raise ConfigurationError(f"{named!r}, {collection!r}: {error}") from error
        super().__init__(where=where(mongodb, named, collection), **options)
        self._client = mongodb
        self._records = records
        # The server's clock is cut to the millisecond.
        self._end = "$$REMOVE" if self.ttl_ms is None else {"$add": ["$$NOW", self.ttl_ms + 1]}

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `mongodb://user:password@host:port/database?collection=name`, with the options of pymongo and ours."""
        return cls(url, **options)

    async def open(self) -> None:
        """Look at the collection's indexes, and create the one that removes what has ended."""
        async with await self._records.list_indexes() as cursor:
            indexes = await cursor.to_list()
        if not indexes and not self.create:
            raise ConfigurationError(f"{self.where} does not exist, and create=False")
        if any("collation" in index for index in indexes if list(index["key"]) == ["_id"]):
            raise ConfigurationError(f"{self.where} has a collation, to which different keys are the same")
        on_the_end = [index for index in indexes if list(index["key"]) == ["expires_at"]]
        # A partial one removes only what its filter matches.
        if any("expireAfterSeconds" in index and "partialFilterExpression" not in index for index in on_the_end):
            return
        if self.create:
            await self._records.create_index("expires_at", expireAfterSeconds=0)
        else:
            logger.warning("%s has no TTL index on expires_at: what has ended stays until it is purged", self.where)

    async def close(self) -> None:
        """Close the client, unless it was passed in."""
        if self._owned:
            try:
                async with asyncio.timeout(self.timeout.total_seconds() / 4):
                    await self._client.close()
            except BaseException as error:
                # It says goodbye to the server first, whether that listens or not; but only once.
                await self._client.close()
                if not isinstance(error, TimeoutError):
                    raise

    async def get(self, name: str) -> Payload | None:
        """Find one document."""
        found = await self._find(name)
        return None if found is None else self._payload(found)

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        """Find one document; its version is stored in it, as the server can compute no digest."""
        found = await self._find(name)
        return None if found is None else (self._payload(found), version_in(found))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Update one document. If need be it is made first, all in one step."""
        version = self.version_of(payload)
        document = self._document(payload, version)
        if isinstance(expected, str):
            replaced = await self._records.update_one(at(name, expected), [{"$replaceWith": document}])
            return version if replaced.matched_count else None
        if expected is ANY:
            await self._records.update_one({"_id": name}, [{"$replaceWith": document}], upsert=True)
            return version
        # $expr, and with it the server's clock, may not be in the filter of an upsert. So what is alive is replaced by
        # itself, which the server does not count as modified.
        absent = {"$cond": [{"$or": [NEW, ENDED]}, document, "$$ROOT"]}
        made = await self._records.update_one({"_id": name}, [{"$replaceWith": absent}], upsert=True)
        return version if made.upserted_id is not None or made.modified_count else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Delete one document."""
        if isinstance(expected, str):
            return (await self._records.delete_one(at(name, expected))).deleted_count == 1
        await self._records.delete_one({"_id": name})
        return True

    async def renew(self, name: str) -> bool:
        """Set a new end."""
        renewed = await self._records.update_one({"_id": name, **ALIVE}, [{"$set": {"expires_at": self._end}}])
        return renewed.matched_count == 1

    async def purge(self) -> int:
        """Delete the documents that have ended, as the server itself does about once a minute."""
        return (await self._records.delete_many({"$expr": ENDED})).deleted_count

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """Find 500 names at a time, in order."""
        end = after(prefix)
        between = {"$gte": prefix, "$lt": end}
        while page := await self._page(between):
            yield page
            between = {"$gt": page[-1], "$lt": end}

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Find the documents with one query, whose answer is one batch up to 16 MiB."""
        return {name: payload for name, (payload, _) in (await self.get_records(names)).items()}

    async def get_records(self, names: Sequence[str]) -> dict[str, tuple[Payload, str]]:
        """Find the documents as `get_many` does, with the versions that are stored in them."""
        found: dict[str, tuple[Payload, str]] = {}
        for start in range(0, len(names), _NAMES):
            some = {"$in": names[start : start + _NAMES]}
            # One more than there can be: after a full batch the driver asks whether there is another.
            async with self._records.find({"_id": some, **ALIVE}, _FIELDS, batch_size=_NAMES + 1) as cursor:
                async for document in cursor:
                    found[document["_id"]] = self._payload(document), version_in(document)
        return found

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """Update the documents in one bulk write."""
        updates = [
            UpdateOne({"_id": name}, [{"$replaceWith": self._document(payload, self.version_of(payload))}], upsert=True)
            for name, payload in payloads.items()
        ]
        await self._records.bulk_write(updates, ordered=False)

    async def drop_many(self, names: Sequence[str]) -> None:
        """Delete the documents in one bulk write."""
        await self._records.bulk_write([DeleteOne({"_id": name}) for name in names], ordered=False)

    async def put_each(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str]:
        """Update the documents in one bulk write; what is to be removed is removed side by side with it.

        A bulk write counts the documents that it matched, and does not tell which. But it tells which of its updates
        raised, so one that finds another version raises. Updates that the driver sends again, because their answer was
        lost, are known to the server by their number, and those that were done count as done.
        """
        removed = {name: change for name, change in changes.items() if change[0] is None}
        written = {name: (payload, expected) for name, (payload, expected) in changes.items() if payload is not None}
        answers = await together([super().put_each(removed), self._update_each(written)])
        return {name: version for answer in answers for name, version in answer.items()}

    async def _update_each(self, changes: Mapping[str, tuple[Payload, str | None]]) -> dict[str, str]:
        if not changes:
            return {}
        versions = {name: self.version_of(payload) for name, (payload, _) in changes.items()}
        updates = [
            # An upsert of what is not there, too, so that this raises instead of matching nothing.
            UpdateOne({"_id": name}, [{"$replaceWith": only(expected, self._document(payload, versions[name]))}], True)
            for name, (payload, expected) in changes.items()
        ]
        try:
            await self._records.bulk_write(updates, ordered=False)
        except driver.BulkWriteError as error:
            raised = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(each["code"] not in CONFLICTS for each in raised):
                raised[:] = [each for each in raised if each["code"] not in CONFLICTS]
                raise
            names = list(versions)
            for each in raised:
                del versions[names[each["index"]]]
        return versions

    def schema(self) -> str:
        """Return the commands that make the index, and a user that may do what the storage does, and no more."""
        database, collection = self._records.database.name, self._records.name
        actions = ["find", "insert", "update", "remove", "listIndexes", *(["createIndex"] if self.create else [])]
        index = {"key": {"expires_at": 1}, "name": "expires_at_1", "expireAfterSeconds": 0}
        privilege = {"resource": {"db": database, "collection": collection}, "actions": actions}
        commands = [
            {"createIndexes": collection, "indexes": [index]},
            {"createRole": "satchel", "privileges": [privilege], "roles": []},
            {"createUser": "satchel", "pwd": "PASSWORD", "roles": ["satchel"]},
        ]
        on = f"db.getSiblingDB({json.dumps(database)})"
        return "".join(f"{on}.runCommand({json.dumps(command)})\n" for command in commands)

    async def about(self) -> str:
        """Run buildInfo, which everybody may."""
        return f"MongoDB {(await self._records.database.command('buildInfo'))['version']}"

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an error of the driver's, or the code of one of the server's, means."""
        return translate(error, self._client, self.where)

    async def _find(self, name: str) -> dict[str, Any] | None:
        """Find what has not ended. A filter by nothing but _id is the fastest, so the end is a field to look at.

        The server takes a tenth longer if it is to look at its clock, or to pick fields. Where nothing ends, it does so
        only if something ends all the same: a storage with a lifetime wrote it.
        """
        document: dict[str, Any] | None
        if self.ttl_ms is None:
            document = await self._records.find_one({"_id": name})
            if document is None or document.get("expires_at") is None:
                return document
        document = await self._records.find_one({"_id": name}, _FIELDS_AND_END)
        return None if document is None or document["ended"] else document

    async def _page(self, between: dict[str, str]) -> list[str]:
        # A negative limit is the whole answer in one batch.
        cursor = self._records.find({"_id": between, **ALIVE}, {"_id": 1}, sort=[("_id", 1)], limit=-_PAGE)
        async with cursor:
            return [document["_id"] async for document in cursor]

    def _document(self, payload: Payload, version: str) -> dict[str, Any]:
        """Return the expression for a whole document; $literal, as a text that starts with a dollar would be one."""
        column = payload.decode() if self.codec.is_text else payload
        return {"_id": "$_id", "payload": {"$literal": column}, "version": version, "expires_at": self._end}

    def _payload(self, document: dict[str, Any]) -> Payload:
        payload = document.get("payload")
        if isinstance(payload, str):
            return payload.encode()
        if isinstance(payload, bytes):
            return payload
        raise CorruptValueError(f"{document['_id']!a} in {self.where} has a payload that is neither text nor binary")
