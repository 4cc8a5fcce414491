"""Objects in S3 for payloads that are too large for an item: added, read and removed, but never changed."""

import hashlib
import logging
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from satchel import ConfigurationError, StorageError, StorageURL
from satchel.aws import AWS, code_of, place_of, take_options, translate

T = TypeVar("T")
logger = logging.getLogger("satchel")

_LARGEST: Final = 5 * 1024**3  # of one PUT: https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html


class Objects:
    """A part of a bucket. An object's key is the digest of a session's name, and a random number of its own.

    Args:
        url: `s3://bucket/prefix`; the query may say `region`, `endpoint_url` and `profile`.
        timeout: how long a call may take.
        max_connections: how many requests are under way at once.

    Raises:
        ConfigurationError: the URL makes no sense.
    """

    largest: Final = _LARGEST

    def __init__(self, url: str, timeout: timedelta, max_connections: int | None) -> None:
        parsed = StorageURL(url)
        if parsed.scheme != "s3" or not parsed.host or parsed.port is not None or parsed.username is not None:
            raise ConfigurationError("offload is a URL such as s3://bucket/prefix")
        options = {"max_connections": max_connections, **take_options(parsed)}
        if unknown := parsed.options({}):
            raise ConfigurationError(f"offload takes no {', '.join(unknown)}")
        self._bucket = parsed.host
        self._prefix = f"{parsed.path.strip('/')}/".lstrip("/")
        self.where = f"s3://{self._bucket}/{self._prefix}" + place_of(
            None, options.get("region"), options.get("endpoint_url")
        )
        style = "path" if "endpoint_url" in options else "auto"
        # What boto3 adds by itself since 1.36 is not known to every server that speaks S3.
        checksums = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        self._aws = AWS("s3", **options, timeout=timeout, settings={"s3": {"addressing_style": style}, **checksums})

    def __str__(self) -> str:
        """Return where they are, without secrets."""
        return self.where

    async def open(self) -> None:
        """Make the client."""
        await self._aws.open()

    def close(self) -> None:
        """Close the client."""
        self._aws.close()

    async def add(self, name: str, payload: bytes) -> str:
        """Put a new object, and return its key."""
        key = f"{self._prefix}{hashlib.sha256(name.encode()).hexdigest()}/{secrets.token_hex(16)}"
        await self._run(lambda s3: s3.put_object(Bucket=self._bucket, Key=key, Body=payload))
        return key

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None if it is not there any more."""

        def read(s3: Any) -> bytes | None:
            try:
                body: bytes = s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except ClientError as error:
                if code_of(error) != "NoSuchKey":
                    raise
                return None
            return body

        return await self._run(read, reads=True)

    async def remove(self, key: str) -> None:
        """Delete an object that nothing names any more; if that fails it stays, and harms nothing."""
        try:
            await self._run(lambda s3: s3.delete_object(Bucket=self._bucket, Key=key))
        except StorageError as error:
            logger.warning("%s is left over: %s", key, error)

    def rights(self) -> list[dict[str, Any]]:
        """Return the statements of a policy that allows all this, and no more."""
        bucket = f"arn:aws:s3:::{self._bucket}"
        actions = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        return [
            {"Effect": "Allow", "Action": actions, "Resource": f"{bucket}/{self._prefix}*"},
            # Without this one, what is not there is answered with 403.
            {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": bucket},
        ]

    async def _run(self, work: Callable[[Any], T], *, reads: bool = False) -> T:
        try:
            return await self._aws.run(work, reads=reads)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and code_of(error) == "NoSuchBucket":
                raise ConfigurationError(f"{self.where} does not exist") from error
            found = translate(error, self.where) or StorageError(f"{self.where} failed: {type(error).__name__}")
            raise found from error
