"""What a session's file holds: a line of JSON about the session, its payload, and a line feed."""

import json
from typing import Any, Final, NamedTuple

from satchel import CorruptValueError, Payload, StorageError

LONGEST_HEADER: Final = 4096  # bytes: a name has at most 1 921, and each of them takes two at the most
_FORMAT: Final = 1


class Header(NamedTuple):
    """The first line of a file: `{"satchel":1,"key":"satchel:telegram:42","expires_at":null,"sha256":"9f86…"}`.

    Attributes:
        name: what the session is stored under; the file's own name is its digest.
        expires_at: when the session ends, in milliseconds since 1970, or None.
        digest: the payload's, by which damage is noticed; None if somebody took it out, who edits payloads by hand.
    """

    name: str
    expires_at: int | None
    digest: str | None


def join(header: Header, payload: Payload) -> bytes:
    """Return a file's content."""
    fields = {"satchel": _FORMAT, "key": header.name, "expires_at": header.expires_at, "sha256": header.digest}
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return b"%b\n%b\n" % (line.encode(), payload)


def split(content: bytes) -> tuple[Header, Payload]:
    """Return the header of a file, of which the beginning is enough, and what follows it.

    Raises:
        CorruptValueError: there is none.
        StorageError: it is that of a later format.
    """
    line, feed, rest = content.partition(b"\n")
    try:
        found: Any = json.loads(line.decode()) if feed else None
    except (ValueError, RecursionError):
        found = None
    fields = found if isinstance(found, dict) else {}
    version, name, end, digest = (fields.get(field) for field in ("satchel", "key", "expires_at", "sha256"))
    if isinstance(version, int) and version > _FORMAT:
        raise StorageError(f"is of format {version}, and this release knows {_FORMAT}: update satchel-file")
    if version != _FORMAT or not isinstance(name, str):
        raise CorruptValueError("has no header" if content else "is empty")
    if not isinstance(end, int | None) or not isinstance(digest, str | None):
        raise CorruptValueError("has a header that is none of ours")
    return Header(name, end, digest), rest.removesuffix(b"\n")
