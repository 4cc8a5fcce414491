"""Commits: what one request may change, and why the server cancelled one."""

from collections.abc import Mapping
from typing import Final

from botocore.exceptions import ClientError

from satchel import Payload, ValueTooLargeError
from satchel.aws import code_of

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
_MOST: Final = 100
_LARGEST: Final = 4 * 1024**2
_BESIDE: Final = 120  # bytes of an item that are neither its payload nor its key
_AGAIN: Final = frozenset({"None", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})


def check(payloads: Mapping[str, Payload | None], where: str) -> None:
    """Refuse what is too much for one request.

    Raises:
        ValueTooLargeError: of records, or of bytes.
    """
    if (count := len(payloads)) > _MOST:
        raise ValueTooLargeError(
            f"a commit has {count} records; {where} takes {_MOST}, all or none", size=count, limit=_MOST
        )
    size = sum(len(payload or b"") + len(name.encode()) + _BESIDE for name, payload in payloads.items())
    if size > _LARGEST:
        raise ValueTooLargeError(f"a commit has {size} bytes; {where} takes {_LARGEST}", size=size, limit=_LARGEST)


class Cancelled:
    """Why the server cancelled a commit, nothing of which was done then.

    Args:
        error: the server's answer. If it is another one, it is raised.

    Attributes:
        passing: others were at the items, or it was too much, so that the same may be sent again.
    """

    def __init__(self, error: ClientError) -> None:
        if code_of(error) != "TransactionCanceledException":
            raise error
        # It has a reason for each action, in their order, "None" where there is none.
        self._codes = [str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])]
        self.passing = bool(self._codes) and _AGAIN.issuperset(self._codes)

    def conflict(self, changes: Mapping[str, object]) -> str | None:
        """Return the name of an item that was not at its version, if that was it."""
        if "ConditionalCheckFailed" not in self._codes:
            return None
        return list(changes)[self._codes.index("ConditionalCheckFailed")]
