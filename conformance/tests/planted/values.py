"""Storages whose values do not come back as they were written."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Any, ClassVar
from unicodedata import normalize

from conformance.tests.planted import changed, planted
from conformance.tests.planted.correct import Correct
from satchel import ANY, JSON, Change, Expected, Payload, Record, UnsupportedValueError
from satchel.codecs import JSONCodec


class _Changing(JSONCodec):
    """Strict JSON, but for a change of each part of a value before it is encoded."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        self._change = change

    def encode(self, value: Any) -> Payload:
        super().encode(value)
        return super().encode(changed(value, self._change))


class Changes(Correct):
    """Changes each part of a value."""

    change: ClassVar[Any] = staticmethod(lambda part: part)

    def __init__(self, world: Any, **options: Any) -> None:
        super().__init__(world, **({"codec": _Changing(type(self).change)} | options))


class ChangesVersioned(Correct):
    """Changes each part of a value that is read with its version, which another piece of code decodes."""

    change: ClassVar[Any] = staticmethod(lambda part: part)

    async def read_versioned(self, key: str) -> Record[Any] | None:
        record = await super().read_versioned(key)
        return record and Record(changed(record.value, type(self).change), record.version)


class Accepts(Correct):
    """Makes something else of what should be refused."""

    change: ClassVar[Any] = staticmethod(lambda part: part)

    async def write(self, key: str, value: Any) -> None:
        await super().write(key, changed(value, type(self).change))

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        return await super().write_versioned(key, changed(value, type(self).change), expected)


def _renamed(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda part: {change(name): child for name, child in part.items()} if isinstance(part, dict) else part


def _text(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda part: change(part) if isinstance(part, str) else part


@planted("R2-integers")
class IntegersAreFloats(ChangesVersioned):
    """Integers go through floats, as in JavaScript."""

    change = staticmethod(lambda part: int(float(part)) if type(part) is int and abs(part) < 10**300 else part)


@planted("R2-integers")
class IntegersAre64Bit(Correct):
    """Integers over 64 bits are refused."""

    async def write(self, key: str, value: Any) -> None:
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise UnsupportedValueError("is over 64 bits")
        await super().write(key, value)


@planted("R2-floats", "R2-any-value", others=True)
class FifteenDigits(Changes):
    """Floats keep 15 digits."""

    change = staticmethod(lambda part: float(f"{part:.15g}") if type(part) is float and abs(part) < 1e300 else part)


@planted("R2-floats")
class FifteenDigitsVersioned(ChangesVersioned):
    """Floats that are read with a version keep 15 digits."""

    change = FifteenDigits.change


@planted("R2-negative-zero")
class NoNegativeZero(ChangesVersioned):
    """-0.0 becomes 0.0."""

    change = staticmethod(lambda part: part + 0.0 if type(part) is float else part)


@planted("R2-number-kinds")
class WholeFloatsAreIntegers(ChangesVersioned):
    """1.0 becomes 1."""

    change = staticmethod(
        lambda part: int(part) if type(part) is float and part.is_integer() and 0 < abs(part) < 1e17 else part
    )


@planted("R2-unicode", "R2-any-value")
class Normalizes(Changes):
    """Strings are normalised."""

    change = staticmethod(_text(lambda text: normalize("NFC", text)))


@planted("R2-unicode")
class ThreeByteCharacters(ChangesVersioned):
    """Characters of four bytes become question marks, as with MySQL's utf8."""

    change = staticmethod(_text(lambda text: "".join("?" if char > "\uffff" else char for char in text)))


@planted("R2-control-characters")
class LineEnds(ChangesVersioned):
    """Line ends are made alike."""

    change = staticmethod(_text(lambda text: "\n".join(text.splitlines()) if "\r" in text else text))


@planted("R2-nul", "R2-any-value", "R2-any-value-batch")
class NoNul(Changes):
    """NUL is left out, as with PostgreSQL's text."""

    change = staticmethod(_text(lambda text: text.replace("\0", "")))


@planted("R2-nul")
class NoNulVersioned(ChangesVersioned):
    """NUL is left out of what is read with a version."""

    change = NoNul.change


@planted("R2-object-keys")
class DottedNames(ChangesVersioned):
    """Dots in the keys of objects become underscores."""

    change = staticmethod(_renamed(lambda name: name.replace(".", "_")))


@planted("R2-object-keys", others=True)
class NoEmptyName(Changes):
    """The empty key of objects is lost."""

    change = staticmethod(lambda part: {k: v for k, v in part.items() if k} if isinstance(part, dict) else part)


@planted("R2-key-order", "R2-any-value", others=True)
class SortsNames(Changes):
    """Keys of objects are sorted, as with PostgreSQL's jsonb."""

    change = staticmethod(lambda part: dict(sorted(part.items())) if isinstance(part, dict) else part)


@planted("R2-key-order")
class SortsNamesVersioned(ChangesVersioned):
    """Keys of objects that are read with a version are sorted."""

    change = SortsNames.change


@planted("R2-inner-null")
class NoNull(ChangesVersioned):
    """Members that are null are left out."""

    change = staticmethod(
        lambda part: {k: v for k, v in part.items() if v is not None} if isinstance(part, dict) else part
    )


@planted("R2-empty-inside")
class NoEmptyMembers(ChangesVersioned):
    """Empty members are left out."""

    change = staticmethod(
        lambda part: {k: v for k, v in part.items() if v not in ({}, [], "")} if isinstance(part, dict) else part
    )


@planted("R2-kinds", others=True)
class ObjectsOnly(Correct):
    """Only objects can be written."""

    async def write(self, key: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise UnsupportedValueError("is no object")
        await super().write(key, value)


@planted("R2-kinds")
class OneKindOfItems(ChangesVersioned):
    """An array with a string has only strings, as in a column of arrays."""

    change = staticmethod(
        lambda part: (
            [str(item) if isinstance(item, int | float) else item for item in part]
            if isinstance(part, list) and any(isinstance(item, str) for item in part)
            else part
        )
    )


@planted("R2-nesting")
class Shallow(ChangesVersioned):
    """What is nested deeper than 32 levels becomes null."""

    change = staticmethod(
        lambda part: None if isinstance(part, dict | list) and max(map(str(part).count, "[{")) > 32 else part
    )


@planted("R2-large", "R9-never-torn", others=True)
class CutAt64K(Correct):
    """A payload is cut to 65 535 bytes, as in a column of type TEXT."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(name, payload[:65_535], expected)


@planted("R2-large")
class CutsArrays(Changes):
    """An array keeps its first 1000 items."""

    change = staticmethod(lambda part: part[:1000] if isinstance(part, list) else part)


@planted("R2-replaces-whole", others=True)
class Merges(Correct):
    """A write over an object keeps the members that the new one lacks."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        with suppress(TypeError, ValueError):
            payload = self.codec.encode({**json.loads(self.alive(name) or b"{}"), **json.loads(payload)})
        return await super().put(name, payload, expected)


@planted("R2-replaces-whole")
class KeepsLongTexts(Correct):
    """A long text, which is kept in a table beside, stays when an object without it is written."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        with suppress(ValueError, AttributeError):
            before = json.loads(self.alive(name) or b"{}").items()
            long = {name: text for name, text in before if isinstance(text, str) and len(text) > 500}
            payload = self.codec.encode({**long, **json.loads(payload)}) if long and payload[:1] == b"{" else payload
        return await super().put(name, payload, expected)


@planted("R2-any-value")
class NumbersTexts(Correct):
    """A text that reads like another kind of value becomes a number."""

    async def write(self, key: str, value: Any) -> None:
        await super().write(key, changed(value, _numbered))


@planted("R2-any-value-batch")
class NumbersTextsOfBatches(Correct):
    """A text in a batch that reads like another kind of value becomes a number."""

    async def write_many(self, values: Mapping[str, Any]) -> None:
        await super().write_many({key: changed(value, _numbered) for key, value in values.items()})


_LIKE_OTHERS = ("null", "true", "NaN", "1e400", "-0", "{}", "[]")


def _numbered(part: Any) -> Any:
    return 0 if type(part) is str and part in _LIKE_OTHERS else part


@planted("R2-refuses-none")
class NoneDeletes(Correct):
    """Writing None deletes."""

    async def write(self, key: str, value: Any) -> None:
        await (self.delete(key) if value is None else super().write(key, value))


@planted("R2-refuses-nan")
class NanIsZero(Accepts):
    """NaN becomes 0."""

    change = staticmethod(lambda part: 0 if type(part) is float and not isfinite(part) else part)


@planted("R2-refuses-lone-surrogates")
class ReplacesSurrogates(Accepts):
    """Lone surrogates become question marks."""

    change = staticmethod(_text(lambda text: text.encode(errors="replace").decode() if type(text) is str else text))


@planted("R2-refuses-other-keys")
class NamesAreStrings(Accepts):
    """Keys of objects become strings, as json.dumps does."""

    change = staticmethod(lambda part: {str(k): v for k, v in part.items()} if type(part) is dict else part)


@planted("R2-refuses-collections")
class TuplesAreLists(Accepts):
    """Tuples become arrays, as json.dumps does."""

    change = staticmethod(lambda part: list(part) if isinstance(part, tuple) else part)


@planted("R2-refuses-dates")
class DatesAreText(Accepts):
    """Dates become text."""

    change = staticmethod(lambda part: part.isoformat() if isinstance(part, date) else part)


@planted("R2-refuses-objects")
class DecimalsAreText(Accepts):
    """Decimals become text, as with json.dumps(default=str)."""

    change = staticmethod(lambda part: str(part) if isinstance(part, Decimal) else part)


@planted("R2-refuses-cycles")
class CyclesOverflow(Correct):
    """A cycle ends in a RecursionError."""

    async def write(self, key: str, value: Any) -> None:
        json.dumps(value, default=str, skipkeys=True) if _is_deep(value) else None
        await super().write(key, value)


def _is_deep(value: Any) -> bool:
    for _ in range(300):
        if not isinstance(value, dict) or not value:
            return False
        value = next(iter(value.values()))
    return True


@planted("R2-names-odd-paths")
class DottedPaths(Correct):
    """The path of what is refused joins names with dots, whatever they are."""

    async def write(self, key: str, value: Any) -> None:
        try:
            await super().write(key, value)
        except UnsupportedValueError as error:
            raise UnsupportedValueError("is refused", path=error.path.replace('["', ".").replace('"]', "")) from None


@planted("R2-refuses-dates", others=True)
class RefusesLate(Correct):
    """A value is refused when the old one is gone already."""

    async def write(self, key: str, value: Any) -> None:
        try:
            await super().write(key, value)
        except UnsupportedValueError:
            await self.delete(key)
            raise


@planted("R2-kinds", others=True)
class BatchLosesKinds(Correct):
    """write_many writes numbers as text."""

    async def write_many(self, values: Mapping[str, Any]) -> None:
        texts = {key: changed(value, lambda p: str(p) if type(p) is int else p) for key, value in values.items()}
        await super().write_many(texts)


class _DriversText(str):
    """A kind of string that a driver gives, as others give kinds of numbers and documents."""

    __slots__ = ()


@planted("R2-any-value", others=True)
class GivesDriversTypes(Correct):
    """read gives strings of a class of the driver's, which look like strings and cannot be written back."""

    async def read(self, key: str) -> Any:
        return changed(await super().read(key), lambda part: _DriversText(part) if type(part) is str else part)


class KnowsNoCodec(Correct):
    """Some calls encode and decode with JSON, whatever codec was passed in."""

    @contextmanager
    def as_json(self) -> Iterator[None]:
        codec, self.codec = self.codec, JSON
        try:
            yield
        finally:
            self.codec = codec


@planted("R2-codec-everywhere")
class CommitKnowsNoCodec(KnowsNoCodec):
    """A commit writes JSON, whatever codec was passed in: what is to be encrypted is there for all to read."""

    async def commit(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        with self.as_json():
            return await super().commit(changes)


@planted("R2-codec-everywhere")
class VersionsKnowNoCodec(KnowsNoCodec):
    """write_versioned writes JSON, whatever codec was passed in."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        with self.as_json():
            return await super().write_versioned(key, value, expected)


@planted("R2-codec-everywhere")
class BatchKnowsNoCodec(KnowsNoCodec):
    """write_many writes JSON, whatever codec was passed in, and read_many reads that."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        with self.as_json():
            return await super().read_many(keys)

    async def write_many(self, values: Mapping[str, Any]) -> None:
        with self.as_json():
            await super().write_many(values)
