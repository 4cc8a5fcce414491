"""What a document is, in the words of aggregation, as $$NOW, the clock of the server, is only known to these."""

from typing import Any, Final

# What is no date never ends, to the TTL index either.
ENDED: Final = {"$and": [{"$eq": [{"$type": "$expires_at"}, "date"]}, {"$lte": ["$expires_at", "$$NOW"]}]}
ALIVE: Final = {"$expr": {"$not": [ENDED]}}
# What an upsert has just made of its filter: a document of nothing but a name.
NEW: Final = {"$eq": ["$$ROOT", {"_id": "$_id"}]}
# Makes the server refuse an update, whose document stays as it is. A name is never a number, as it has a colon.
_CONFLICT: Final = {"$toInt": "$_id"}
# ConversionFailure; and DuplicateKey, where somebody created the document at the same time.
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
CONFLICTS: Final = frozenset((241, 11000))
_NO_VERSION: Final = "none"  # of a document that others wrote


def at(name: str, version: str) -> dict[str, Any]:
    """Return the filter for a document that is at a version and has not ended."""
    return {"_id": name, "version": _stored(version), **ALIVE}


def only(expected: str | None, document: dict[str, Any]) -> dict[str, Any]:
    """Return the expression for a document in the place of one that is as expected; of any other it is a conflict."""
    if expected is None:
        return {"$cond": [{"$or": [NEW, ENDED]}, document, _CONFLICT]}
    is_at = {"$eq": [{"$ifNull": ["$version", None]}, {"$literal": _stored(expected)}]}
    return {"$cond": [{"$and": [is_at, {"$not": [NEW]}, {"$not": [ENDED]}]}, document, _CONFLICT]}


def version_in(document: dict[str, Any]) -> str:
    """Return the version of a document that was found."""
    return str(document.get("version") or _NO_VERSION)


def _stored(version: str) -> str | None:
    """Return what the field holds. To a filter, null is also what has no such field."""
    return None if version == _NO_VERSION else version.encode(errors="replace").decode()
