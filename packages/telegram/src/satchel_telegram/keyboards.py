"""What buttons stand for, as fields of one record: a field for each keyboard, so that those of processes merge."""

from collections.abc import Mapping
from typing import Any, Final

from satchel import CorruptValueError

CallbackData = tuple[list[tuple[str, float, dict[str, Any]]], dict[str, str]]
"""As python-telegram-bot has it: keyboard, when it was last used, what its buttons are; by query, its keyboard."""

_KEYBOARD: Final = "keyboard:"
_QUERY: Final = "query:"


def packed(data: CallbackData) -> dict[str, Any]:
    """Return the record."""
    keyboards, queries = data
    record: dict[str, Any] = {
        _KEYBOARD + keyboard: {"used": used, "buttons": buttons} for keyboard, used, buttons in keyboards
    }
    return record | {_QUERY + query: keyboard for query, keyboard in queries.items()}


def unpacked(record: Mapping[str, Any]) -> CallbackData:
    """Return the data of a record, the keyboards in the order of their use: the last to be forgotten comes last."""
    try:
        keyboards = [
            (name.removeprefix(_KEYBOARD), float(kept["used"]), dict(kept["buttons"]))
            for name, kept in record.items()
            if name.startswith(_KEYBOARD)
        ]
        queries = {
            name.removeprefix(_QUERY): str(keyboard) for name, keyboard in record.items() if name.startswith(_QUERY)
        }
    except (KeyError, TypeError, ValueError):
        raise CorruptValueError("what is stored is no callback data") from None
    return sorted(keyboards, key=lambda keyboard: keyboard[1]), queries
