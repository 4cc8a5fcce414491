"""The objects of a bucket: requests, and what their answers mean where changes are conditional."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from satchel.aws import AWS, code_of

Condition = Mapping[str, str]
"""IfMatch or IfNoneMatch of a change, or nothing."""

# What a condition that does not hold is answered with: 412; 404, if there is nothing; 409, if others change it too.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
# Ceph's word for a write under If-Match that lost against one at the same time, and was not made, is UnknownError.
_CONFLICTS: Final = frozenset({"PreconditionFailed", "NoSuchKey", "ConditionalRequestConflict", "UnknownError"})
_NO_ETAG: Final = "0" * 32

Heeded = tuple[bool, bool]
"""Whether a server heeds the conditions of writes, and those of deletes."""

_HEEDED: Final[dict[tuple[str, str], Heeded]] = {}  # what was seen, by endpoint and bucket


class Objects:
    """What can be done in one bucket, in one request each."""

    def __init__(self, aws: AWS, bucket: str) -> None:
        self._aws = aws
        self._bucket = bucket

    async def open(self) -> None:
        """Make the client."""
        await self._aws.open()

    def close(self) -> None:
        """Close the client, unless it was passed in."""
        self._aws.close()

    async def get(self, key: str) -> tuple[bytes, Any] | None:
        """Return an object and what is said about it, or None if it is not there."""

        def get(s3: Any) -> tuple[bytes, Any] | None:
            try:
                answer = s3.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            return answer["Body"].read(), answer

        return await self._aws.run(get, reads=True)

    async def head(self, key: str) -> Any:
        """Return what is said about an object, or None if it is not there."""
        try:
            return await self._aws.call("head_object", Bucket=self._bucket, Key=key, reads=True)
        except ClientError as error:
            if code_of(error) == "404":  # there is no body that could say more
                return None
            raise

    async def put(self, key: str, body: bytes, condition: Condition, **more: Any) -> str | None:
        """Write an object and return its ETag, or None if the condition does not hold."""
        answer = await self._change("put_object", key, condition, Body=body, **more)
        return None if answer is None else etag_of(answer)

    async def delete(self, key: str, condition: Condition) -> bool:
        """Remove an object, and return whether the condition holds."""
        return await self._change("delete_object", key, condition) is not None

    async def pages(self, start: str, size: int, after: str = "") -> AsyncGenerator[list[str], None]:
        """List the keys with a start, so many at a time, from behind one on."""
        request: dict[str, Any] = {"Bucket": self._bucket, "Prefix": start, "MaxKeys": size}
        if after:
            request["StartAfter"] = after
        while True:
            answer = await self._aws.call("list_objects_v2", **request, reads=True)
            yield [item["Key"] for item in answer.get("Contents", [])]
            if not answer.get("IsTruncated"):
                return
            request["ContinuationToken"] = answer["NextContinuationToken"]

    async def heeded(self, key: str) -> Heeded:
        """Try which conditions the server heeds, with an object that is not there; once in a process is enough."""
        place = await self._aws.run(lambda s3: (s3.meta.endpoint_url, self._bucket))
        if place in _HEEDED:
            await self._aws.call("list_objects_v2", Bucket=self._bucket, Prefix=key, MaxKeys=1, reads=True)
        else:
            _HEEDED[place] = await self._try_conditions(key)
        return _HEEDED[place]

    async def _try_conditions(self, key: str) -> Heeded:
        await self.put(key, b"", {})
        try:
            writes = not await self._is_made("put_object", key, {"IfNoneMatch": "*"})
            writes = writes and not await self._is_made("put_object", key, {"IfMatch": _NO_ETAG})
            return writes, writes and not await self._is_made("delete_object", key, {"IfMatch": _NO_ETAG})
        finally:
            await self.delete(key, {})

    async def create_bucket(self) -> None:
        """Create the bucket, in the client's region, unless somebody else was faster."""
        region = await self._aws.run(lambda s3: s3.meta.region_name)
        request: dict[str, Any] = {"Bucket": self._bucket}
        if region not in (None, "us-east-1", "aws-global"):  # which is the default, and must not be said
            request["CreateBucketConfiguration"] = {"LocationConstraint": region}
        try:
            await self._aws.call("create_bucket", **request)
        except ClientError as error:
            if code_of(error) not in ("BucketAlreadyOwnedByYou", "OperationAborted"):
                raise

    async def _change(self, operation: str, key: str, condition: Condition, **more: Any) -> Any:
        """Make a change, and return what the server says, or None if the condition does not hold."""
        try:
            return await self._aws.call(operation, **{"Bucket": self._bucket, "Key": key, **condition, **more})
        except ClientError as error:
            if condition and code_of(error) in _CONFLICTS:
                return None
            raise

    async def _is_made(self, operation: str, key: str, condition: Condition) -> bool:
        """Tell whether a change is made although its condition does not hold; or would be, as the server has none."""
        try:
            return await self._change(operation, key, condition) is not None
        except ClientError as error:
            if code_of(error) == "NotImplemented":
                return True
            raise


def etag_of(head: Mapping[str, Any]) -> str:
    """Return the bare ETag: in quotes, not every server takes it back."""
    return str(head["ETag"]).strip('"')
