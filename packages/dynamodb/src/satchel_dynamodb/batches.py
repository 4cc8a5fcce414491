"""Batches: as many items as one request takes, and again, after a pause, what the server left over."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from satchel import StorageUnavailableError
from satchel.aws import AWS, Backoff

_READ_AT_ONCE, _WRITTEN_AT_ONCE = 100, 25  # BatchGetItem and BatchWriteItem take no more
_READ: Final = ("batch_get_item", "UnprocessedKeys")
_WRITTEN: Final = ("batch_write_item", "UnprocessedItems")


class Batches:
    """Requests for several items of one table.

    Args:
        aws: the client.
        table: its name.
        where: what messages call it.
        seconds: how long a call may take.
    """

    def __init__(self, aws: AWS, table: str, where: str, seconds: float) -> None:
        self._aws = aws
        self._table = table
        self._where = where
        self._seconds = seconds

    async def read(self, keys: Sequence[Any]) -> list[Any]:
        """Return those items that are there, in no order, each as it was at some time: this is no snapshot.

        Raises:
            StorageUnavailableError: the server left some over for too long.
        """
        items: list[Any] = []
        for start in range(0, len(keys), _READ_AT_ONCE):
            some = {"Keys": keys[start : start + _READ_AT_ONCE], "ConsistentRead": True}
            async for answer in self._answers(*_READ, some, reads=True):
                items += answer["Responses"][self._table]
        return items

    async def write(self, requests: Sequence[Any]) -> None:
        """Put or delete items.

        Raises:
            StorageUnavailableError: the server left some over for too long.
        """
        for start in range(0, len(requests), _WRITTEN_AT_ONCE):
            async for _ in self._answers(*_WRITTEN, requests[start : start + _WRITTEN_AT_ONCE], reads=False):
                pass

    async def _answers(self, operation: str, rest: str, some: object, *, reads: bool) -> AsyncGenerator[Any, None]:
        left: Any = {self._table: some}
        backoff = Backoff(self._seconds)
        while True:
            answer = await self._aws.call(operation, RequestItems=left, reads=reads)
            yield answer
            left = answer[rest]
            if not left:
                return
            if not await backoff.pause():
                raise StorageUnavailableError(
                    f"{self._where} is asked for more than it gives: a part of a batch is left"
                )
