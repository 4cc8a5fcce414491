"""A dict that an application works on and a record that others change too, kept together field by field."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from satchel import JSON, UnsupportedValueError

Fields = dict[str, bytes]
"""The top-level fields of a dict as they are stored, so that 1, 1.0 and True are three values."""

_UNFIT: Final = b""


class Merged(NamedTuple):
    """What a dict and a record make together.

    Attributes:
        record: the record as it is to be.
        lost: the fields that both changed, differently, where the record's stay.
    """

    record: dict[str, Any]
    lost: list[str]


def fields_of(data: Any) -> Fields:
    """Return the encoded fields of a dict.

    Raises:
        UnsupportedValueError: it is none, or not JSON; the error names the path.
    """
    if not isinstance(data, dict):
        raise UnsupportedValueError(f"is {type(data).__name__}; only a dict is stored, not what ContextTypes may name")
    JSON.encode(data)
    return {name: JSON.encode([value]) for name, value in data.items()}


def merged(seen: Fields, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Merged:
    """Put what changed in `mine`, since it was like `seen`, on top of `theirs`; a removed field is a change."""
    here, there = fields_of(mine), fields_of(theirs)
    record = dict(theirs)
    lost: list[str] = []
    for name in seen | here:
        if here.get(name) == seen.get(name):
            continue
        if there.get(name) != seen.get(name):
            lost.append(name)
        elif name in mine:
            record[name] = mine[name]
        else:
            del record[name]
    return Merged(record, lost)


def refreshed(seen: Fields, live: dict[str, Any], theirs: Mapping[str, Any]) -> Fields:
    """Bring into `live`, in place, what changed in the record since `seen`, but for fields with changes of its own.

    Returns:
        what was seen now, field by field, for the next merge.
    """
    here, there = {name: _encoded(value) for name, value in live.items()}, fields_of(theirs)
    now = dict(seen)
    for name in seen | there:
        if here.get(name) != seen.get(name) or there.get(name) == seen.get(name):
            continue
        if name in theirs:
            live[name], now[name] = theirs[name], there[name]
        else:
            del live[name], now[name]
    return now


def _encoded(value: Any) -> bytes:
    """Encode a field; what cannot be stored is a change that saving complains about, and no reason not to read."""
    try:
        return JSON.encode([value])
    except UnsupportedValueError:
        return _UNFIT
