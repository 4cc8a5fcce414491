"""The three-way merge of a session that two writers changed at once."""

from typing import Any, Final

from satchel.codecs import JSON
from satchel.errors import ConflictError

_ABSENT: Final = object()


def merge(base: Any, mine: Any, theirs: Any) -> Any:
    """Return what `mine` and `theirs` make of `base` together, field by field at the top level.

    A field that one of them changed takes that change, removal included; fields keep their order.

    Raises:
        ConflictError: both changed the same field, be it to the same value, as two who count do; only that both
            removed it is agreed on. Or one of the three is not an object.
    """
    if not (isinstance(base, dict) and isinstance(mine, dict) and isinstance(theirs, dict)):
        raise ConflictError("was changed by somebody else, and only objects can be merged")
    merged: dict[str, Any] = {}
    both: list[str] = []
    for name in theirs | mine | base:
        was, here, there = (_encoded(side, name) for side in (base, mine, theirs))
        if here == was or (here is _ABSENT and there is _ABSENT):
            winner = theirs
        elif there == was:
            winner = mine
        else:
            both.append(name)
            continue
        if name in winner:
            merged[name] = winner[name]
    if both:
        raise ConflictError(f"was changed by somebody else in the same field: {', '.join(map(ascii, both))}")
    return merged


def refill(mine: Any, merged: Any) -> Any:
    """Return what is equal to `merged`, made of the dicts and lists of `mine`: whoever holds them goes on with them."""
    if type(mine) is dict and type(merged) is dict:
        fields = {name: refill(mine[name], field) if name in mine else field for name, field in merged.items()}
        mine.clear()
        mine.update(fields)
        return mine
    if type(mine) is list and type(merged) is list:
        if JSON.encode(mine) != JSON.encode(merged):
            mine[:] = merged
        return mine
    return merged


def _encoded(side: dict[str, Any], name: str) -> object:
    """Return a field so that it compares as it is stored: 1, 1.0 and True are three values."""
    return JSON.encode([side[name]]) if name in side else _ABSENT
