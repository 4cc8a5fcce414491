"""What a session is as a document: its id, its fields, its version."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

Document = Any
"""A DocumentSnapshot, which is generic in some versions of the driver."""

# https://cloud.google.com/firestore/quotas, "Constraints on document IDs": no slash, not __.*__, not `.` or `..` (which
# no name is), and 1500 bytes; with its escapes a name has up to 2944.
_LONGEST_ID: Final = 1500
_HEAD: Final = 1400  # bytes that the id of a longer name begins with, and that a listing asks for
_VERSION: Final = re.compile(r"(?:(\d{1,18})/)?(\d{4}-.+)")
_MILLISECOND: Final = timedelta(milliseconds=1)


def to_id(name: str) -> str:
    """Return the id of a name. It is never another name's: a percent sign stands before two digits in a name only."""
    escaped = _escape(name)
    return escaped if _fits(escaped) else f"{_head(escaped)}%~{sha256(name.encode()).hexdigest()}"


def id_range(prefix: str) -> tuple[str, str]:
    """Return the first id that a name with `prefix` can have, and the first beyond; names are still to be compared."""
    start = _head(_escape(prefix))
    base = start.rstrip("\U0010ffff")
    following = ord(base[-1]) + 1
    # No id has a slash, or half of a surrogate pair.
    return start, base[:-1] + chr({0xD800: 0xE000, ord("/"): ord("0")}.get(following, following))


def to_names(documents: Sequence[Document], prefix: str) -> list[str]:
    """Return the names that start with `prefix`, of documents that have not ended."""
    names = [_name(document) for document in documents if not has_ended(document)]
    return [name for name in names if name.startswith(prefix)]


def to_fields(name: str, payload: str | bytes, end: dict[str, Any]) -> dict[str, Any]:
    """Return what a document holds: the payload, when it ends, and its name if the id has only the beginning."""
    fields = {"payload": payload, **end}
    return fields if _fits(_escape(name)) else fields | {"name": name}


def to_payload(document: Document) -> bytes | None:
    """Return what `to_fields` was given, or None if it is not there."""
    payload = (document.to_dict() or {}).get("payload")
    return payload.encode() if isinstance(payload, str) else payload if isinstance(payload, bytes) else None


def has_ended(document: Document) -> bool:
    """Tell whether a document had outlived itself when it was read, by Firestore's clock."""
    ttl_ms = _ttl_ms(document)
    return ttl_ms is not None and age_ms(document.update_time, document.read_time) >= ttl_ms


def age_ms(start: datetime, now: datetime) -> int:
    """Return the time between in whole milliseconds."""
    return (now - start) // _MILLISECOND


def version_of(document: Document) -> str:
    """Return the version of a document that was read."""
    return to_version(document.update_time, _ttl_ms(document))


def to_version(update_time: datetime, ttl_ms: int | None) -> str:
    """Return the version of a document that was written then, with that lifetime."""
    text = update_time.isoformat(timespec="microseconds")  # Firestore's update times are in whole ones
    return text if ttl_ms is None else f"{ttl_ms}/{text}"


def from_version(version: str) -> tuple[datetime, int | None] | None:
    """Return what `to_version` was given, or None for what it never makes."""
    if (found := _VERSION.fullmatch(version)) is None:
        return None
    try:
        update_time = datetime.fromisoformat(found[2])
    except ValueError:
        return None
    ttl_ms = int(found[1]) if found[1] else None
    return (update_time, ttl_ms) if to_version(update_time, ttl_ms) == version else None


def _name(document: Document) -> str:
    if isinstance(name := (document.to_dict() or {}).get("name"), str):
        return name
    text: str = document.id.replace("%2F", "/")
    return "_" + text[3:] if text.startswith("%5F") else text


def _ttl_ms(document: Document) -> int | None:
    ttl_ms = (document.to_dict() or {}).get("ttl_ms")
    return ttl_ms if isinstance(ttl_ms, int) else None


def _escape(name: str) -> str:
    """Escape what an id cannot have as no name is: it has %2F and %5F for nothing else."""
    text = name.replace("/", "%2F")
    return "%5F" + text[1:] if text.startswith("__") else text


def _fits(escaped: str) -> bool:
    return len(escaped.encode()) <= _LONGEST_ID


def _head(escaped: str) -> str:
    return escaped.encode()[:_HEAD].decode(errors="ignore")
