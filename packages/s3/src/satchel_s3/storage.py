"""Sessions in S3, or what speaks its protocol: an object per session, changed only if its ETag is the expected one."""

import logging
import re
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
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
from satchel.settling import together
from satchel.storage import V
from satchel_s3.keys import Keys, quoted, unquoted
from satchel_s3.objects import Condition, Objects, etag_of
from satchel_s3.schema import policy

logger = logging.getLogger("satchel")

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}|arn:[A-Za-z0-9:/._-]+")
_PREFIX: Final = re.compile(r"[A-Za-z0-9!_.*'()/=:@-]{0,256}")
_SHARDS: Final = (1, 16, 256, 4096)
# A bare ETag, when the record ends, and the digest of the payload, whose ETag a touch changes.
_VERSION: Final = re.compile(r"(?P<etag>[\w-]+)\.(?P<end>[0-9]*)\.[0-9a-f]{64}", re.ASCII)
_LISTED_AT_ONCE, _LOOKED_AT_ONCE = 1000, 200  # a page has to be done within the timeout


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
        """HEAD every object, and DELETE with If-Match what has ended; where that is ignored, a lifecycle rule may."""
        count = 0
        if self.capabilities.conditional_delete:
            async for keys in self._pages(self._prefix, _LOOKED_AT_ONCE):
                heads = await together(self._objects.head(key) for key in keys)
                found = zip(keys, heads, strict=True)
                ended = {key: etag_of(head) for key, head in found if self._has_ended(head)}
                count += sum(
                    await together(self._objects.delete(key, {"IfMatch": etag}) for key, etag in ended.items())
                )
        return count

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """LIST, and with a ttl HEAD of each object, as only that tells when it ends."""
        async for keys in self._pages(prefix, _LISTED_AT_ONCE if self.ttl is None else _LOOKED_AT_ONCE):
            names = await together(self._name_of(key) for key in keys)
            yield [name for name in names if name is not None and name.startswith(prefix)]

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
        """Return the policy for a user that may do what the storage does, and the rule that removes what has ended."""
        return policy(self._bucket, self._root, self.ttl)

    async def _try_conditions(self) -> None:
        """Take back what is declared of versions if the server does not heed the conditions that they need."""
        writes, deletes = await self._objects.heeded(f"{self._root}.satchel-{secrets.token_hex(8)}")
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
        answer = await self._objects.get(self._keys.key(name))
        if answer is None:
            return None
        payload, head = answer
        end = self._end(head)
        if end is not None:
            payload, _, tail = payload.rpartition(b"\n")
            if tail != b"%d" % end:
                raise CorruptValueError(f"{self.where} holds an object whose last line is not when it ends")
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

    async def _pages(self, prefix: str, size: int) -> AsyncGenerator[list[str], None]:
        """List the keys of names with a prefix, and maybe some more."""
        for start in self._keys.starts(prefix):
            async for keys in self._objects.pages(start, size):
                yield keys

    async def _name_of(self, key: str) -> str | None:
        """Return the name that an object is stored under, or None if it has ended, or is not ours."""
        name = self._keys.name(key)
        if name is None or self.ttl is not None:
            head = await self._objects.head(key)
            if head is None or self._has_ended(head):
                return None
            name = name or unquoted(head["Metadata"].get("name", ""))
        return name if self._keys.key(name) == key else None

    def _end(self, head: Mapping[str, Any]) -> int | None:
        """Return when an object ends, in milliseconds since 1970, or None if it does not."""
        end = head.get("Metadata", {}).get("expires-at")
        if end is not None and not (end.isascii() and end.isdigit()):
            raise CorruptValueError(f"{self.where} holds an object whose end is no number")
        return None if end is None else int(end)

    def _has_ended(self, head: Mapping[str, Any] | None) -> bool:
        end = None if head is None else self._end(head)
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
