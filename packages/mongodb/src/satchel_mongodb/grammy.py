"""Sessions of grammY's in MongoDB, read where @grammyjs/storage-mongodb left them."""

import json
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS

from satchel import JSON, ConfigurationError, CorruptValueError, Payload, UnsupportedValueError
from satchel.codecs import step
from satchel.foreign.grammy import Grammy
from satchel.keys import after, show
from satchel_mongodb.storage import MongoDBStorage

_PAGE: Final = 500  # names in one answer
_FIELDS: Final = {"_id": 0, "key": 1, "value": 1}
_EXACT: Final = 1e21  # where JSON.stringify begins to write numbers with an exponent
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class GrammyMongoDBStorage(Grammy, MongoDBStorage[Any]):
    """A document of `key` and `value`, in the collection that the adapter was given: "sessions", unless it is said.

    A value is read as `JSON.stringify` would write it: dates become ISO 8601 text, as in grammY's other storages, and
    a number that is whole is an integer, whichever of BSON's types it has. What JSON cannot hold raises. Of several
    documents with one key (nothing keeps the adapter from making them) the first counts, as it does for grammY.

    Takes what `Grammy` and `MongoDBStorage` take.
    """

    default_database = "test"  # the one of MongoDB's own drivers
    default_collection = "sessions"

    def __init__(self, source: Any, **options: Any) -> None:
        super().__init__(source, **options)
        dates = CodecOptions[dict[str, Any]](datetime_conversion=DatetimeConversion.DATETIME_MS)  # of any year
        self._records = self._records.with_options(codec_options=dates)

    async def open(self) -> None:
        """Look whether the collection is there: a wrong name would be an empty one."""
        async with await self._records.list_indexes() as cursor:
            if not await cursor.to_list():
                raise ConfigurationError(f"{self.where} does not exist")

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Find the documents with one query."""
        found: dict[str, Payload] = {}
        async with self._records.find({"key": {"$in": list(names)}}, _FIELDS) as cursor:
            async for document in cursor:
                if document["key"] not in found:
                    found[document["key"]] = self._json(document)
        return found

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """Go through the collection as it lies, 500 documents at a time: there may be no index on keys."""
        strangers = 0
        wanted = {"key": {"$gte": prefix, "$lt": after(prefix)}} if prefix else {}
        async with self._records.find(wanted, {"key": 1}, batch_size=_PAGE) as cursor:
            while documents := await cursor.to_list(_PAGE):
                names = [document.get("key") for document in documents]
                strangers += sum(not isinstance(name, str) for name in names)
                yield [name for name in names if isinstance(name, str)]
        if strangers:  # said at the end, so that they keep nobody from the others
            raise CorruptValueError(f"{self.where} has documents without a key, {strangers} of them")

    def schema(self) -> str:
        """Return the command that makes a role which may do what the storage does, and no more."""
        resource = {"db": self._records.database.name, "collection": self._records.name}
        role = {
            "createRole": "satchel",
            "privileges": [{"resource": resource, "actions": ["find", "listIndexes"]}],
            "roles": [],
        }
        return f"db.getSiblingDB({json.dumps(resource['db'])}).runCommand({json.dumps(role)})\n"

    def _json(self, document: dict[str, Any]) -> Payload:
        value = document.get("value")
        try:
            return b"null" if value is None else JSON.encode(_plain(value, "$"))
        except (UnsupportedValueError, RecursionError) as error:
            raise CorruptValueError(f"{show(document['key'])} in {self.where} is not JSON: {error}") from error


def _plain(value: Any, path: str) -> Any:
    """Return what `JSON.stringify` would make of what a driver read."""
    match value:
        case dict():
            return {name: _plain(child, path + step(name)) for name, child in value.items()}
        case list():
            return [_plain(child, f"{path}[{index}]") for index, child in enumerate(value)]
        case bool() | str() | None:
            return value
        case int():
            return int(value)  # of BSON's long, which has a class of its own
        case float():
            return int(Decimal(repr(value))) if value.is_integer() and abs(value) < _EXACT else value
        case DatetimeMS():
            return _iso(int(value), path)
    raise UnsupportedValueError(f"is {type(value).__name__}, which JSON cannot hold", path=path)


def _iso(at: int, path: str) -> str:
    try:
        date = _EPOCH + timedelta(milliseconds=at)
    except OverflowError as error:
        raise UnsupportedValueError("is a date that has no four digits for its year", path=path) from error
    return date.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
