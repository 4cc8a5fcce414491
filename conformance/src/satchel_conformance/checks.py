"""How a clause says what it expects, so that a failure tells what was expected and what happened."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

_LONGEST: Final = 300


class ClauseFailure(AssertionError):
    """The storage does not do what the clause says."""

    def __init__(self, expected: str, happened: str) -> None:
        super().__init__(f"expected {expected}; happened: {happened}")
        self.expected = expected
        self.happened = happened


class NotApplicable(Exception):
    """The clause cannot be tried on this storage. The message says why."""


def expect(holds: object, expected: str, happened: str) -> None:
    """Fail unless `holds`. Both texts are whole phrases: what should be, and what is instead."""
    if not holds:
        raise ClauseFailure(expected, happened)


def expect_same(happened: object, expected: object, what: str) -> None:
    """Fail unless both values are the same in type, order and sign, all the way down: 1 is neither 1.0 nor True.

    Args:
        happened: what the storage gave.
        expected: what it should have given.
        what: the call that gave it, in words.
    """
    if not same(happened, expected):
        raise ClauseFailure(f"{what} gives {shown(expected)}", _difference(happened, expected))


class Caught:
    """The error that a block raised, once it has ended."""

    error: Any = None


@contextmanager
def expect_error(kind: type[BaseException] | tuple[type[BaseException], ...], what: str) -> Iterator[Caught]:
    """Fail unless the block raises an error of `kind`; `what` is the call in words."""
    caught = Caught()
    names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
    try:
        yield caught
    except kind as error:
        caught.error = error
        return
    except (ClauseFailure, NotApplicable):
        raise
    except Exception as error:
        raise ClauseFailure(f"{what} raises {names}", f"{type(error).__name__}: {error}") from error
    raise ClauseFailure(f"{what} raises {names}", "it raised nothing")


async def outcome(call: Awaitable[T], *kinds: type[E]) -> T | E:
    """Return what a call gives, or the error if it is one of `kinds`."""
    try:
        return await call
    except kinds as error:
        return error


def same(first: object, second: object) -> bool:
    """Tell whether two values are the same in type, order and sign, all the way down."""
    if type(first) is not type(second) and not (isinstance(first, dict) and repr(first) == repr(second)):
        return False  # a driver's own kind of str or int cannot be written back
    if isinstance(first, dict) and isinstance(second, dict):
        return same(list(first), list(second)) and same(list(first.values()), list(second.values()))
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return repr(first) == repr(second)  # which tells apart 0.0 and -0.0


def shown(value: object) -> str:
    """Return a value for a message: its repr in ASCII, so that look-alikes differ, both ends of it if it is long."""
    text = ascii(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 90]}...{text[-30:]} ({len(text)} characters)"


def _difference(happened: object, expected: object) -> str:
    """Return what happened; of long values, the part where it leaves what was expected."""
    one, two = ascii(happened), ascii(expected)
    if one == two:
        return f"{shown(happened)}, or a part of it, is of another type"
    if len(one) <= _LONGEST:
        return one
    start = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    start = max(0, start - 40)
    return f"from character {start}: ...{one[start : start + 120]}... instead of ...{two[start : start + 120]}..."
