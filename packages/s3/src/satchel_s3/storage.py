"""Sessions in S3, or what speaks its protocol: an object per session, changed only if its ETag is the expected one."""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self, Unpack

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
from satchel.aws import AWS, code_of, place_of, take_options, translate
from satchel.clock import now
from satchel.keys import show
from satchel.settling import together
from satchel.storage import V
from satchel_s3.keys import Keys, literal, quoted, unquoted
from satchel_s3.objects import Condition, Objects, etag_of
from satchel_s3.schema import MAX_RULES, policy

logger = logging.getLogger("satchel")

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}|arn:[A-Za-z0-9:/._-]+")
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()/=:@-]{0,256}")
_SHARDS: Final = (1, 16, 256, 4096)
# A bare ETag, when the record ends, and the digest of the payload, whose ETag a touch changes.
_VERSION: Final = re.compile(r"(?P<etag>[\w-]+)\.(?P<end>[0-9]*)\.[0-9a-f]{64}", re.ASCII)
_PROBE: Final = ".satchel-"
_LISTED_AT_ONCE, _LOOKED_AT_ONCE = 1000, 200  # a page has to be done within the timeout
_PURGED_AT_ONCE: Final = 64  # and so many within half of it


class S3Storage(EncodedStorage[V]):
    """One object per session.

    Args:
        bucket: its name. If it is missing it is created.
        prefix: what the keys of all objects start with, such as `bots/`.
        client: a client or resource of boto3's, used with whatever options it has, and not closed; None to make one.
        region: as in `eu-west-1`; by default what the environment or the profile says.
        endpoint_url: where S3 is, if not at AWS.
        profile: of the AWS configuration files.
        shards: over how many further prefixes the objects are spread: 1, 16, 256 or 4096.
        max_connections: how many requests are under way at once, each in a thread of its own; others wait. 32 by
            default.
        options: see `satchel.StorageOptions`.
    """

    capabilities = Capabilities(
        versioned=True,  # unless the server turns out to ignore the condition of a write
        conditional_delete=True,  # or of a delete
        expiring=True,
        ttl_resolution=timedelta(milliseconds=1),
        listing=True,
        durable=True,
        max_value_bytes=5
        * 1024**3,  # one PUT: https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html
    )

    round_trips = MappingProxyType({"touch": 2})

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        client: Any = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        shards: int = 1,
        max_connections: int | None = None,
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
            raise ConfigurationError(f"bucket is {bucket!r}; it is the name of a bucket, or the ARN of an access point")
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                f"prefix is {prefix!r}; it has up to 256 of the characters a-z, A-Z, 0-9, !_.*'()/=:@-"
            )
        if shards not in _SHARDS or isinstance(shards, bool):
            raise ConfigurationError(f"shards is {shards!r}; it is 1, 16, 256 or 4096")
        super().__init__(where=f"s3://{bucket}/{prefix}{place_of(client, region, endpoint_url)}", **options)
        self._bucket = bucket
        self._root = prefix
        self._keys = Keys(prefix, shards)
        self._purged_to = ""
        style = "auto" if endpoint_url is None else "path"  # a name below that of a server of one's own is seldom known
        aws = AWS(
            "s3",
            client=client,
            region=region,
            endpoint_url=endpoint_url,
            profile=profile,
            max_connections=max_connections,
            timeout=self.timeout,
            # What botocore adds of its own accord since 1.36 is not known to every server.
            settings={
                "s3": {"addressing_style": style},
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
        )
        self._objects = Objects(aws, bucket)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `s3://bucket/prefix?region=eu-west-1`; the query may also say `endpoint_url`, `profile` and `shards`."""
        parsed = StorageURL(url)
        if not parsed.host or parsed.port is not None or parsed.username is not None:
            raise ConfigurationError("an S3 URL is s3://bucket/prefix?region=eu-west-1")
        own = take_options(parsed)
        if (shards := parsed.take("shards", int)) is not None:
            own["shards"] = shards
        prefix = parsed.path.strip("/")
        return cls(parsed.host, prefix and f"{prefix}/", **(own | parsed.options(options)))

    async def open(self) -> None:
        """Make the client, and try which conditions the server knows, in a bucket that is created if need be."""
        await self._objects.open()
        try:
            await self._try_conditions()
        except ClientError as error:
            if code_of(error) != "NoSuchBucket" or not self.create:
                raise
            await self._objects.create_bucket()
            await self._try_conditions()

    async def close(self) -> None:
        """Close the client, unless it was passed in."""
        self._objects.close()

    async def get(self, name: str) -> Payload | None:
        """GET."""
        found = await self._read(name)
        return None if found is None or found.has_ended else found.payload

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        """GET, which gives the ETag too."""
        found = await self._read(name)
        return None if found is None or found.has_ended else (found.payload, self._version(found))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """PUT, with If-None-Match or If-Match."""
        if expected is not ANY and not self.capabilities.versioned:
            raise ConfigurationError(f"{self.where} does not heed the conditions of writes, so it has no versions")
        condition = await self._condition(name, expected)
        while condition is not None:
            written = await self._write(name, payload, condition)
            if written is not None:
                return self._version(written)
            condition = await self._condition_now(name, expected)
        return None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """DELETE, with If-Match."""
        if expected is not ANY and not self.capabilities.conditional_delete:
            raise ConfigurationError(f"{self.where} does not heed the conditions of deletes")
        condition = await self._condition(name, expected)
        while condition is not None:
            if await self._objects.delete(self._keys.key(name), condition):
                return True
            condition = await self._condition_now(name, expected)
        return False

    async def renew(self, name: str) -> bool:
        """GET, and PUT with If-Match: a copy onto itself would not notice what was written in between."""
        while (found := await self._read(name)) is not None and not found.has_ended:
            condition = {"IfMatch": found.etag} if self.capabilities.versioned else {}
            if await self._write(name, found.payload, condition) is not None:
                return True
        return False

    async def purge(self) -> int:
        """HEAD every object, and DELETE with If-Match what has ended; where that is ignored, a lifecycle rule may.

        What half of the timeout is not enough for is left to the next call, which goes on where this one stopped.
        """
        count = 0
        if not self.capabilities.conditional_delete:
            return count
        clock, start = asyncio.get_running_loop().time, self._purged_to
        late = clock() + self.timeout.total_seconds() / 2
        async with aclosing(self._walk(start)) as walk:
            async for keys, end in walk:
                count += sum(await together(self._remove_ended(key) for key in keys))
                self._purged_to = end
                if clock() > late:
                    if not start:
                        logger.warning(
                            "%s is too large for one purge_expired(): the next goes on from here", self.where
                        )
                    return count
        self._purged_to = ""
        return count

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """LIST, and with a ttl HEAD of each object, as only that tells when it ends."""
        damaged: list[str] = []

        async def name_of(key: str) -> str | None:
            try:
                return await self._name_of(key, prefix)
            except CorruptValueError:
                damaged.append(key)
                return None

        for start in self._keys.starts(prefix):
            async for keys in self._objects.pages(start, _LISTED_AT_ONCE if self.ttl is None else _LOOKED_AT_ONCE):
                yield [name for name in await together(name_of(key) for key in keys) if name is not None]
        if damaged:  # said at the end, so that they keep nobody from the others
            more = f" and {len(damaged) - 1} more" if damaged[1:] else ""
            raise CorruptValueError(f"{self.where} has objects whose end is no number: {show(min(damaged))}{more}")

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an error of boto3's means, or the code of one that the server answered with."""
        if isinstance(error, ClientError):
            match code_of(error):
                case "NoSuchBucket":
                    why = "" if self.create else ", and create=False"
                    return ConfigurationError(f"{self.where} is in a bucket that does not exist{why}")
                case "BucketAlreadyExists":
                    return ConfigurationError(f"{self.where} is in a bucket of somebody else's")
                case "OperationAborted":
                    return StorageUnavailableError(f"{self.where} is busy with another change")
        return translate(error, self.where)

    def schema(self) -> str:
        """Return the policy for a user that may do what the storage does, and the rules that remove what has ended.

        Raises:
            ConfigurationError: it has a ttl, and more shards than a bucket takes rules.
        """
        starts = self._keys.starts(self._prefix)
        if self.ttl is not None and len(starts) > MAX_RULES:
            raise ConfigurationError(
                f"{self.where} has {len(starts)} shards, and a bucket takes {MAX_RULES} lifecycle rules: call "
                "purge_expired(), and leave the ttl out to see the policy"
            )
        patterns = [self._keys.pattern(self._prefix), f"{literal(self._root)}{_PROBE}*"]
        return policy(self._bucket, patterns, starts, self.ttl)

    async def _try_conditions(self) -> None:
        """Take back what is declared of versions if the server does not heed the conditions that they need."""
        writes, deletes = await self._objects.heeded(f"{self._root}{_PROBE}{secrets.token_hex(8)}")
        if not writes:
            logger.warning("%s ignores conditions: of two processes that change one session, the last wins", self.where)
        elif not deletes:
            logger.warning("%s ignores the condition of a delete", self.where)
        if not deletes:
            self.lacks(versioned=writes, conditional_delete=deletes)

    async def _condition(self, name: str, expected: Expected) -> Condition | None:
        """Return under which condition to make a change, or None if it would be a conflict."""
        if expected is ANY:
            return {}
        if expected is None:
            return {"IfNoneMatch": "*"}
        version = _VERSION.fullmatch(expected)
        if version is None:
            return None
        if version["end"] and int(version["end"]) <= now():  # unless it was touched since
            return await self._condition_now(name, expected)
        return {"IfMatch": version["etag"]}

    async def _condition_now(self, name: str, expected: Expected) -> Condition | None:
        """Look why a condition did not hold: over what has ended, or was only touched, the change is made after all."""
        found = await self._read(name)
        if expected is None:
            return {"IfNoneMatch": "*"} if found is None else {"IfMatch": found.etag} if found.has_ended else None
        if found is None or found.has_ended or not str(expected).endswith(self.version_of(found.payload)):
            return None
        return {"IfMatch": found.etag}

    async def _read(self, name: str) -> "_Found | None":
        key = self._keys.key(name)
        answer = await self._objects.get(key)
        if answer is None:
            return None
        payload, head = answer
        end = self._end(key, head)
        if end is not None:
            payload, _, tail = payload.rpartition(b"\n")
            if tail != b"%d" % end:
                raise CorruptValueError(f"{self.where} holds {show(key)}, whose last line is not when it ends")
        return _Found(payload, etag_of(head), end)

    async def _write(self, name: str, payload: Payload, condition: Condition) -> "_Found | None":
        """Write an object and return it, or None if the condition does not hold."""
        key = self._keys.key(name)
        metadata = {} if self._keys.name(key) is not None else {"name": quoted(name)}
        end = None if self.ttl_ms is None else now() + self.ttl_ms + 1  # now is cut to the millisecond
        body = payload
        if end is not None:
            # The ETag is of the body, so the end is there, too: what was touched, or written again, has another.
            body, metadata = b"%b\n%d" % (payload, end), {**metadata, "expires-at": str(end)}
        kind = "application/json" if self.codec.is_text else "application/octet-stream"
        etag = await self._objects.put(key, body, condition, ContentType=kind, Metadata=metadata)
        return None if etag is None else _Found(payload, etag, end)

    async def _walk(self, after: str) -> AsyncGenerator[tuple[list[str], str], None]:
        """List all keys from behind one on, a few at a time, each time with what a later walk may go on behind."""
        for start in self._keys.starts(self._prefix):
            if start > after or after.startswith(start):
                async for keys in self._objects.pages(start, _LISTED_AT_ONCE, after):
                    for first in range(0, len(keys) or 1, _PURGED_AT_ONCE):
                        some = keys[first : first + _PURGED_AT_ONCE]
                        yield some, some[-1] if some else max(start, after)

    async def _remove_ended(self, key: str) -> bool:
        """Remove an object if it has ended, and return whether it was removed; one that is damaged stays."""
        head = await self._objects.head(key)
        try:
            ended = self._has_ended(key, head)
        except CorruptValueError:
            return False
        return ended and await self._objects.delete(key, {"IfMatch": etag_of(head)})

    async def _name_of(self, key: str, prefix: str) -> str | None:
        """Return the name that an object is stored under, or None if it has ended, or is none of those looked for."""
        name, head = self._keys.name(key), None
        if name is None or self.ttl is not None:
            head = await self._objects.head(key)
            if head is None:
                return None
            name = name or unquoted(head["Metadata"].get("name", ""))
        if self._keys.key(name) != key or not name.startswith(prefix) or self._has_ended(key, head):
            return None
        return name

    def _end(self, key: str, head: Mapping[str, Any]) -> int | None:
        """Return when an object ends, in milliseconds since 1970, or None if it does not."""
        end = head.get("Metadata", {}).get("expires-at")
        if end is not None and not (end.isascii() and end.isdigit()):
            raise CorruptValueError(f"{self.where} holds {show(key)}, whose end is no number")
        return None if end is None else int(end)

    def _has_ended(self, key: str, head: Mapping[str, Any] | None) -> bool:
        end = None if head is None else self._end(key, head)
        return end is not None and end <= now()

    def _version(self, found: "_Found") -> str:
        return f"{found.etag}.{'' if found.end is None else found.end}.{self.version_of(found.payload)}"


class _Found(NamedTuple):
    """What is stored: the payload, the bare ETag, and when it ends, in milliseconds since 1970, or None."""

    payload: Payload
    etag: str
    end: int | None

    @property
    def has_ended(self) -> bool:
        """Whether it counts as absent."""
        return self.end is not None and self.end <= now()
