"""Sessions in DynamoDB: an item per session, each a partition of its own; what is too large for one may be in S3."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Self, Unpack

from botocore.exceptions import ClientError

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
    StorageUnavailableError,
    StorageURL,
)
from satchel.aws import AWS, Backoff, code_of, place_of, take_options, translate
from satchel.clock import now
from satchel.settling import together
from satchel.storage import V
from satchel_dynamodb.batches import Batches
from satchel_dynamodb.commits import Cancelled, check
from satchel_dynamodb.items import ABSENT, ENDED, LISTED, PRESENT, STILL_ENDED, UNCHANGED, Items, is_untyped
from satchel_dynamodb.objects import Objects
from satchel_dynamodb.tables import ready, template

# An item has 400 KB, counted in the UTF-8 of names and strings, and for a number half its digits and one: what remains
# for a payload beside the longest key, a digest, and the end of the longest lifetime.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
_BESIDE: Final = {"session_key": 3 * 128 + 1 + 3 * 512, "payload": 0, "version": 64, "expires_at": 10, "remove_at": 9}
_LARGEST: Final = 400 * 1024 - sum(len(name) + size for name, size in _BESIDE.items())

_TABLE: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")


class DynamoDBStorage(EncodedStorage[V]):
    """One item per session, read consistently, and changed under conditions that the server checks.

    Args:
        table: its name. If it is missing it is created, billed on demand.
        client: a client or resource of boto3's, used with whatever options it has, and not closed; None to make one.
        region: as in `eu-west-1`; by default what the environment or the profile says.
        endpoint_url: where DynamoDB is, if not at AWS.
        profile: of the AWS configuration files.
        offload: `s3://bucket/prefix`, where payloads go that are too large for an item; None refuses them.
        max_connections: how many requests are under way at once, each in a thread of its own; others wait. 32 by
            default.
        options: see `satchel.StorageOptions`.
    """

    capabilities = Capabilities(
        versioned=True,
        conditional_delete=True,
        expiring=True,
        ttl_resolution=timedelta(milliseconds=1),
        listing=True,
        batch=True,
        transactional=True,
        durable=True,
        max_value_bytes=_LARGEST,
    )

    def __init__(
        self,
        table: str,
        *,
        client: Any = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        offload: str | None = None,
        max_connections: int | None = None,
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        if not isinstance(table, str) or not _TABLE.fullmatch(table):
            raise ConfigurationError(f"table is {table!r}; it has 3 to 255 of the characters a-z, A-Z, 0-9, _, - and .")
        super().__init__(where=f"dynamodb:///{table}{place_of(client, region, endpoint_url)}", **options)
        self._table = table
        self._objects = None if offload is None else Objects(offload, self.timeout, max_connections)
        if self._objects is not None:
            # A commit does not tell which objects the items named before, so those would be left over.
            self.lacks(max_value_bytes=self._objects.largest, transactional=False)
        self._aws = AWS(
            "dynamodb",
            client=client,
            region=region,
            endpoint_url=endpoint_url,
            profile=profile,
            max_connections=max_connections,
            timeout=self.timeout,
        )
        self._batches = Batches(self._aws, table, self.where, self.timeout.total_seconds())
        self._items = Items(untyped=False)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `dynamodb:///table?region=eu-west-1`; the query may also say `endpoint_url`, `profile` and `offload`."""
        parsed = StorageURL(url)
        if parsed.host or parsed.username is not None or "/" in parsed.path[1:]:
            raise ConfigurationError("a DynamoDB URL is dynamodb:///table?region=eu-west-1")
        own = take_options(parsed)
        if (offload := parsed.take("offload", str)) is not None:
            own["offload"] = offload
        return cls(parsed.path[1:], **(own | parsed.options(options)))

    async def open(self) -> None:
        """Make the client, look at the table, and create it with its expiry."""
        await self._aws.open()
        if self._objects is not None:
            await self._objects.open()
        self._items = Items(untyped=await self._aws.run(is_untyped))
        await ready(self._aws, self._table, self.where, create=self.create)

    async def close(self) -> None:
        """Close the client, unless it was passed in."""
        self._aws.close()
        if self._objects is not None:
            self._objects.close()

    async def get(self, name: str) -> Payload | None:
        """GetItem."""
        found = await self.get_versioned(name)
        return None if found is None else found[0]

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        """GetItem, and where the payload is in S3, its object."""
        missing = None
        while True:
            answer = await self._aws.call("get_item", **self._key(name), ConsistentRead=True, reads=True)
            item = self._alive(answer.get("Item"))
            if item is None:
                return None
            payload = await self._payload(item)
            if payload is not None:
                return payload, str(item["version"])
            if missing == item["offloaded"]:
                raise CorruptValueError(f"{self.where} names an object that is not in {self._objects}")
            missing = item["offloaded"]  # it went after the item was read: with the item, or there is another

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """PutItem, under a condition. Of a large payload the object is there before, and an old object goes after."""
        item = await self._item(name, payload)
        old = await self._change("put_item", self._if(expected), Item=self._items.typed(item))
        await self._discard(item if old is None else old)
        return None if old is None else str(item["version"])

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """DeleteItem, under a condition, and then an object."""
        old = await self._change("delete_item", self._if(expected), **self._key(name))
        await self._discard(old)
        return old is not None

    async def renew(self, name: str) -> bool:
        """UpdateItem."""
        end = self._end()
        update = "SET expires_at = :expires_at, remove_at = :remove_at" if end else "REMOVE expires_at, remove_at"
        condition = self._items.condition(PRESENT, now=now(), **end)
        changed = await self._change("update_item", condition, **self._key(name), UpdateExpression=update)
        if changed and end and "offloaded" in changed:
            # The table's own expiry would leave the object behind; see `purge`.
            condition = self._items.condition(PRESENT, now=now())
            await self._change("update_item", condition, **self._key(name), UpdateExpression="REMOVE remove_at")
        return changed is not None

    async def purge(self) -> int:
        """Remove what has ended and has an object; items without one the table removes itself."""
        count = 0
        if self._objects is not None:
            async for items in self._scan(ENDED, self._prefix, "session_key, offloaded"):
                for item in items:
                    condition = self._items.condition(STILL_ENDED, offloaded=item["offloaded"], now=now())
                    old = await self._change("delete_item", condition, **self._key(item["session_key"]))
                    await self._discard(old)
                    count += old is not None
        return count

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """Scan the table, a megabyte at a time."""
        async for items in self._scan(LISTED, prefix, "session_key"):
            yield [item["session_key"] for item in items]

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """BatchGetItem, a hundred items at a time."""
        return {name: payload for name, (payload, _) in (await self.get_records(names)).items()}

    async def get_records(self, names: Sequence[str]) -> dict[str, tuple[Payload, str]]:
        """BatchGetItem, and where a payload is in S3, its object. It is no snapshot; each item is as it was once."""
        raw = await self._batches.read([self._key(name)["Key"] for name in names])
        items = [item for one in raw if (item := self._alive(one)) is not None]
        payloads = await together(self._payload(item) for item in items)
        found: dict[str, tuple[Payload, str]] = {}
        for item, payload in zip(items, payloads, strict=True):
            name, version = item["session_key"], str(item["version"])
            record = await self.get_versioned(name) if payload is None else (payload, version)
            if record is not None:
                found[name] = record
        return found

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """BatchWriteItem, 25 items at a time; where there may be objects, PutItem side by side."""
        if self._objects is not None:
            await together(self.put(name, payload) for name, payload in payloads.items())
        else:
            items = [self._items.typed(await self._item(name, payload)) for name, payload in payloads.items()]
            await self._batches.write([{"PutRequest": {"Item": item}} for item in items])

    async def drop_many(self, names: Sequence[str]) -> None:
        """BatchWriteItem, 25 items at a time; where there may be objects, DeleteItem side by side."""
        if self._objects is not None:
            await together(self.drop(name) for name in names)
        else:
            await self._batches.write([{"DeleteRequest": {"Key": self._key(name)["Key"]}} for name in names])

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        """TransactWriteItems; again, after a pause, if another transaction was at one of the items."""
        check({name: payload for name, (payload, _) in changes.items()}, self.where)
        backoff = Backoff(self.timeout.total_seconds())
        while True:
            actions = [await self._action(name, *change) for name, change in changes.items()]
            try:
                await self._aws.call("transact_write_items", TransactItems=actions)
            except ClientError as error:
                cancelled = Cancelled(error)
                if (name := cancelled.conflict(changes)) is not None:
                    raise self.conflict(name) from error
                if not cancelled.passing or not await backoff.pause():
                    raise
            else:
                return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an error of boto3's means, or the code of one that the server answered with."""
        if isinstance(error, ClientError):
            said = str(error.response.get("Error", {}).get("Message"))
            match code_of(error):
                case "ResourceNotFoundException":  # the table
                    why = "" if self.create else ", and create=False"
                    return ConfigurationError(f"{self.where} does not exist{why}")
                case "TransactionCanceledException" if Cancelled(error).passing:
                    return StorageUnavailableError(f"{self.where} is busy: others are at the same items")
                case "TransactionConflictException" | "LimitExceededException" | "ResourceInUseException" as code:
                    return StorageUnavailableError(f"{self.where} is busy: {code}")
                case "ValidationException" if "schema" in said:
                    return ConfigurationError(f"{self.where} has another key than the string session_key")
        return translate(error, self.where)

    def schema(self) -> str:
        """Return a CloudFormation template: the table, and the rights to work with it."""
        return template(self._table, self._objects.rights() if self._objects is not None else [])

    async def _action(self, name: str, payload: Payload | None, expected: str | None) -> dict[str, Any]:
        """Return a part of a commit: one item put, deleted, or only looked at, under a condition."""
        condition = {"TableName": self._table, **self._if(expected)}
        if payload is not None:
            return {"Put": {"Item": self._items.typed(await self._item(name, payload)), **condition}}
        return {"ConditionCheck" if expected is None else "Delete": {**self._key(name), **condition}}

    async def _item(self, name: str, payload: Payload) -> dict[str, Any]:
        """Return a new item; if its payload is too large, it is in an object by then."""
        item: dict[str, Any] = {"session_key": name, "version": self.version_of(payload), **self._end()}
        if self._objects is None or len(payload) <= _LARGEST:
            return item | {"payload": payload.decode() if self.codec.is_text else payload}
        item.pop("remove_at", None)  # the table's own expiry would leave the object behind; see `purge`
        return item | {"offloaded": await self._objects.add(name, payload)}

    async def _payload(self, item: Mapping[str, Any]) -> Payload | None:
        """Return what an item holds, or None if its object is not there any more."""
        if "version" in item and "payload" in item:
            payload = item["payload"]
            return payload.encode() if isinstance(payload, str) else bytes(payload)
        if "version" not in item or "offloaded" not in item:
            raise CorruptValueError(f"{self.where} holds something else than a session under this key")
        if self._objects is None:
            raise ConfigurationError(f"{self.where} has payloads in S3: say where, with offload=")
        return await self._objects.get(item["offloaded"])

    async def _discard(self, item: Mapping[str, Any] | None) -> None:
        """Remove the object of an item that is not there any more. Should that fail, the object is left over."""
        if self._objects is not None and item is not None and "offloaded" in item:
            await self._objects.remove(item["offloaded"])

    async def _change(self, operation: str, condition: dict[str, Any], **request: Any) -> dict[str, Any] | None:
        """Change an item; return it as it was (updated: as it is), or None if the condition does not hold."""
        request |= {"TableName": self._table, **condition}
        if self._objects is not None:
            request["ReturnValues"] = "ALL_NEW" if operation == "update_item" else "ALL_OLD"
        try:
            answer = await self._aws.call(operation, **request)
        except ClientError as error:
            if code_of(error) == "ConditionalCheckFailedException":
                return None
            raise
        return self._items.read(answer.get("Attributes", {}))

    async def _scan(self, condition: str, prefix: str, names: str) -> AsyncGenerator[list[dict[str, Any]], None]:
        request = {"TableName": self._table, "ConsistentRead": True, "ProjectionExpression": names}
        while True:
            values = self._items.typed({":prefix": prefix, ":now": now()})
            page = {**request, "FilterExpression": condition, "ExpressionAttributeValues": values}
            answer = await self._aws.call("scan", **page, reads=True)
            yield [self._items.read(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _if(self, expected: Expected) -> dict[str, Any]:
        if expected is ANY:
            return {}
        if expected is None:
            return self._items.condition(ABSENT, now=now())
        return self._items.condition(UNCHANGED, now=now(), expected=expected.encode(errors="replace").decode())

    def _key(self, name: str) -> dict[str, Any]:
        return {"TableName": self._table, "Key": self._items.typed({"session_key": name})}

    def _end(self) -> dict[str, int]:
        """Return when a record written now ends: for us in milliseconds, and for the table in seconds."""
        if self.ttl_ms is None:
            return {}
        end = now() + self.ttl_ms + 1  # now is cut to the millisecond
        return {"expires_at": end, "remove_at": end // 1000 + 1}

    def _alive(self, raw: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return an item of the server's if it has not ended."""
        item = self._items.read(raw or {})
        ended = "expires_at" in item and int(item["expires_at"]) <= now()
        return item if item and not ended else None
