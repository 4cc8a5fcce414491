"""Storages that confuse keys, and namespaces."""

import posixpath
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Any
from unicodedata import combining, normalize
from urllib.parse import unquote

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Alone, Correct, Each, World
from satchel import ANY, Change, Expected, InvalidKeyError, Payload, StorageError, ValueTooLargeError
from satchel.adapter import EncodedStorage
from satchel.keys import check_key, escape, escape_part, unescape


class Mangles(Correct):
    """Makes another key of a key."""

    def mangle(self, key: str) -> str:
        return key

    def _name(self, key: str) -> str:
        return super()._name(self.mangle(check_key(key)) or "_")


@planted("R4-injective-case", "R4-any-keys", "R1-model", others=True)
class IgnoresCase(Mangles):
    """Keys are compared without case, as by a file system or a collation."""

    def mangle(self, key: str) -> str:
        return key.casefold()


@planted("R4-injective-normalization", others=True)
class NormalizesKeys(Mangles):
    """Keys are normalised."""

    def mangle(self, key: str) -> str:
        return normalize("NFC", key)


@planted("R4-injective-separators", "R4-namespaces-injective")
class JoinsSeparators(Mangles):
    """Two separators count as one."""

    def mangle(self, key: str) -> str:
        return key.replace("::", ":")


@planted("R4-injective-trailing", "R4-any-keys", others=True)
class StripsKeys(Mangles):
    """Spaces and dots at the end do not count, as on Windows."""

    def mangle(self, key: str) -> str:
        return key.rstrip(" .") if key[0] not in " ." else key


@planted("R4-injective-nul", others=True)
class EndsAtNul(Mangles):
    """A key ends at NUL."""

    def mangle(self, key: str) -> str:
        return key.partition("\0")[0] or "\0"


@planted("R4-injective-escapes", others=True)
class Unescapes(Mangles):
    """A key is unescaped on its way."""

    def mangle(self, key: str) -> str:
        return unquote(key) if "%" in key and "%%" not in key else key


class Confuses(Correct):
    """Takes a key for another one, but lists it as it was written."""

    def confuse(self, key: str) -> str:
        return key

    def same(self, name: str) -> str:
        start, key = name[: len(self._prefix)], name[len(self._prefix) :]
        return start + escape(self.confuse(unescape(key)))

    def spelled(self, name: str) -> str:
        self.world.notes.setdefault(self.same(name), set()).add(name)
        return self.same(name)

    async def get(self, name: str) -> Payload | None:
        return await super().get(self.same(name))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(self.spelled(name), payload, expected)

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self.world.notes.get(self.same(name), set()).discard(name)
        return await super().drop(self.same(name), expected)

    async def renew(self, name: str) -> bool:
        return await super().renew(self.same(name))

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        return {name: payload for name in names if (payload := self.alive(self.same(name))) is not None}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        await super().put_many({self.spelled(name): payload for name, payload in payloads.items()})

    async def drop_many(self, names: Sequence[str]) -> None:
        for name in names:
            await self.drop(name)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(self._prefix):
            names = [name for same in page for name in self.world.notes[same]]
            yield [name for name in names if name.startswith(prefix)]


@planted("R4-injective-case")
class KelvinIsK(Confuses):
    """The Kelvin sign is a K, as where case is folded by the tables of Unicode."""

    def confuse(self, key: str) -> str:
        return key.replace("\u212a", "K")


@planted("R4-injective-normalization")
class OrdersMarks(Confuses):
    """Combining marks are put into their canonical order."""

    def confuse(self, key: str) -> str:
        marks = re.compile("[\u0300-\u036f]+")
        return marks.sub(lambda run: "".join(sorted(run[0], key=combining)), key)


@planted("R4-injective-separators")
class DashesAreUnderscores(Confuses):
    """Dashes become underscores, as in names of tables."""

    def confuse(self, key: str) -> str:
        return key.replace("-", "_")


@planted("R4-injective-slashes")
class KeysArePaths(Confuses):
    """Keys are paths, and resolved."""

    def confuse(self, key: str) -> str:
        return posixpath.normpath(key) if "/" in key else key


@planted("R4-injective-trailing")
class StripsTheInvisible(Confuses):
    """What cannot be seen at the ends does not count: zero-width spaces and byte order marks."""

    def confuse(self, key: str) -> str:
        return key.strip("\u200b\ufeff") or key


@planted("R4-injective-nul")
class LeavesOutEscape(Confuses):
    """The control character ESC is left out, as by a terminal."""

    def confuse(self, key: str) -> str:
        return key.replace("\x1b", "") or key


@planted("R4-injective-escapes")
class PlusIsSpace(Confuses):
    """A plus sign is a space, as in a query string."""

    def confuse(self, key: str) -> str:
        return key.replace("+", " ")


@planted("R4-injective-numbers")
class NumericKeys(Confuses):
    """A key that looks like a number becomes one."""

    def confuse(self, key: str) -> str:
        return str(int(key)) if key.isdigit() and key.isascii() and len(key) < 20 else key


@planted("R4-injective-wildcards")
class DeletesByPattern(Correct):
    """A key is a pattern for delete."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().drop(name, expected)
        for other in [other for other in self.rows if expected is ANY and fnmatchcase(other, name)]:
            del self.rows[other]
        return there


@planted("R4-longest", "R4-longest-unprintable", others=True)
class CutsKeys(Mangles):
    """Keys are cut after 255 characters."""

    def mangle(self, key: str) -> str:
        return key[:255]


@planted("R4-longest")
class CutsLetters(Confuses):
    """Keys beyond ASCII are cut after 255 characters."""

    def confuse(self, key: str) -> str:
        return key if key.isascii() else key[:255]


@planted("R4-longest-unprintable")
class LongNamesFail(Correct):
    """A name of over 1024 bytes is more than the backend takes."""

    def _name(self, key: str) -> str:
        name = super()._name(key)
        if len(name.encode()) > 1024:
            raise InvalidKeyError("the key is too long once it is escaped")
        return name


@planted("R4-any-keys")
class DeletesLongAlike(Correct):
    """Long keys are deleted without regard to case."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        for other in [other for other in self.rows if len(name) > 40 and other.casefold() == name.casefold()]:
            del self.rows[other]
        return await super().drop(name, expected)


@planted("R4-any-key-listed")
class CutsPrefixes(Correct):
    """A prefix counts up to its twentieth character."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix[: len(self._prefix) + 20]):
            yield page


@planted("R4-batch-key-spelling", others=True)
class BatchSpelling(Correct):
    """read_many gives keys in lower case."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        return {key.lower(): value for key, value in (await super().read_many(keys)).items()}


@planted("R4-batch-key-spelling", shared=False)
class BatchFoldsCase(Alone):
    """read_many asks once for keys that differ only in case."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        wanted = list(keys)
        found = await super().read_many(wanted)
        asked = {key.casefold(): key for key in wanted}
        return {key: found[asked[key.casefold()]] for key in wanted if asked[key.casefold()] in found}


@planted("R4-refuses-empty")
class TakesEmptyKey(Correct):
    """The empty string can be read, and is not there."""

    async def read(self, key: str) -> Any:
        return None if key == "" else await super().read(key)


@planted("R4-refuses-too-long")
class CutsTooLong(Correct):
    """A key that is too long is cut."""

    def _name(self, key: str) -> str:
        if isinstance(key, str) and len(key.encode(errors="replace")) > 512:
            key = key.encode(errors="replace")[:512].decode(errors="ignore")
        return super()._name(key)


@planted("R4-refuses-too-long")
class CountsCharacters(Correct):
    """The limit of a key counts characters, not bytes."""

    def _name(self, key: str) -> str:
        if isinstance(key, str) and len(key) <= 512 < len(key.encode(errors="replace")):
            return super()._name(key[:128])
        return super()._name(key)


@planted("R4-refuses-lone-surrogates")
class TakesSurrogates(Correct):
    """A lone surrogate becomes a question mark."""

    def _name(self, key: str) -> str:
        return super()._name(key.encode(errors="replace").decode() if isinstance(key, str) else key)


@planted("R4-refuses-other-types")
class TakesNumbers(Correct):
    """Keys that are no strings become strings."""

    def _name(self, key: Any) -> str:
        return super()._name(str(key))


class OtherPrefix(Correct):
    """Makes its own prefix of the namespace."""

    def __init__(self, world: World, *, namespace: str = "satchel", **options: Any) -> None:
        super().__init__(world, namespace=namespace, **options)
        self._prefix = self.prefix(namespace)

    def prefix(self, namespace: str) -> str:
        return namespace + ":"


@planted("R4-namespaces-injective", "R4-namespaces-listed-apart")
class JoinsWithColon(OtherPrefix):
    """Namespace and key are joined with a colon, and nothing is escaped: `a` + `b:c` is `a:b` + `c`."""


@planted("R4-namespaces-injective")
class JoinsWithSlash(OtherPrefix):
    """Namespace and key are joined with a slash, and nothing is escaped."""

    def prefix(self, namespace: str) -> str:
        return namespace + "/"


@planted("R4-namespaces-apart", "R4-namespaces-look-alike", others=True)
class ForgetsNamespace(OtherPrefix):
    """Only the first characters of the namespace count."""

    def prefix(self, namespace: str) -> str:
        return namespace[:5] + ":"


@planted("R4-namespaces-apart")
class HashesNamespace(OtherPrefix):
    """Neighbouring letters at the end of a namespace are one, as in a small hash."""

    def prefix(self, namespace: str) -> str:
        return f"{escape_part(namespace[:-1])}{ord(namespace[-1]) // 4}:"


@planted("R4-namespaces-look-alike", "R4-namespaces-listed-apart")
class LowerNamespace(OtherPrefix):
    """Namespaces are compared without case."""

    def prefix(self, namespace: str) -> str:
        return namespace.lower().replace(":", "%3A") + ":"


@planted("R4-namespaces-look-alike")
class StripsNamespace(OtherPrefix):
    """Spaces and dots at the end of a namespace do not count."""

    def prefix(self, namespace: str) -> str:
        return escape_part(namespace.rstrip(" .")) + ":"


@planted("R4-namespaces-listed-apart", "R1-model")
class ListsNeighbours(Correct):
    """A listing gives the keys of every namespace whose name starts alike."""

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for key in super().keys(prefix):
            yield key
        start = self._prefix[:-1]
        for name in list(self.rows):
            if name.startswith(start) and not name.startswith(start + ":"):
                yield name.partition(":")[2]


@planted("R4-namespaces-listed-apart")
class NamespaceIsPattern(Correct):
    """For a listing, the namespace is a pattern, as with SCAN MATCH."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        key = prefix.removeprefix(self._prefix)
        for name in list(self.rows):
            namespace, _, own = name.partition(":")
            if fnmatchcase(namespace, self._prefix[:-1]) and own.startswith(key) and self.alive(name) is not None:
                yield [self._prefix + own]


@planted("R4-namespaces-batched-apart")
class DeletesEverywhere(Correct):
    """delete_many of several keys forgets the namespace."""

    async def drop_many(self, names: Sequence[str]) -> None:
        keys = {name.partition(":")[2] for name in names if len(names) > 1}
        await super().drop_many([*names, *(name for name in self.rows if name.partition(":")[2] in keys)])


@planted("R4-namespace-refused")
class TakesEmptyNamespace(Correct):
    """An empty namespace is the default one."""

    def __init__(self, world: World, *, namespace: str = "satchel", **options: Any) -> None:
        super().__init__(world, namespace=namespace if namespace != "" else "satchel", **options)


@planted("R5-over-limit", "R5-over-limit-versioned", "R5-over-limit-batch", "R5-over-limit-commit")
class NoLimit(Correct):
    """A value over the declared limit is stored."""

    def _encode(self, name: str, key: str, value: Any) -> Payload:
        return self.codec.encode(value)


@planted("R5-over-limit")
class CutsTooLarge(Correct):
    """write takes a value over the limit, and cuts it."""

    async def write(self, key: str, value: Any) -> None:
        await self._call(self.put, self._name(key), self.codec.encode(value)[:300_000])


@planted("R5-over-limit-versioned")
class NoLimitVersioned(Correct):
    """write_versioned takes a value over the limit."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        if isinstance(value, str) and len(value) > 200_000:
            value = value[:200_000]
        return await super().write_versioned(key, value, expected)


@planted("R5-over-limit-batch")
class NoLimitInBatches(Correct):
    """write_many leaves out a value over the limit."""

    async def write_many(self, values: Mapping[str, Any]) -> None:
        await super().write_many({key: value for key, value in values.items() if len(str(value)) < 250_000})


@planted("R5-limit-fits")
class SmallerLimit(Correct):
    """The declared limit is more than what is taken."""

    def _encode(self, name: str, key: str, value: Any) -> Payload:
        payload = super()._encode(name, key, value)
        return EncodedStorage._encode(self, name, key, ["x" * 300_000]) if len(payload) > 299_000 else payload


@planted("R4-namespaces-longest")
class CutsNamespace(Correct):
    """A namespace is cut to 63 bytes, as PostgreSQL cuts names."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self._prefix = self._prefix[:-1][:63] + ":"


@planted("R5-over-limit")
class LimitsCharacters(Correct):
    """The limit of a value is counted in characters."""

    def _encode(self, name: str, key: str, value: Any) -> Payload:
        if type(value) is str and not value.isascii() and len(value) < 300_000:
            return self.codec.encode(value)
        return super()._encode(name, key, value)


@planted(
    "R4-refuses-empty",
    "R4-refuses-too-long",
    "R4-refuses-lone-surrogates",
    "R4-refuses-other-types",
    "R7-commit-refuses",
)
class CommitsAnyKey(Correct):
    """A commit does nothing about a key that it cannot take, and says nothing."""

    async def commit(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        try:
            return await super().commit(changes)
        except InvalidKeyError:
            return {}


@planted("R5-limit-fits")
class LimitCountsKey(Correct):
    """The limit of a value is one of the value together with a long key."""

    def _encode(self, name: str, key: str, value: Any) -> Payload:
        payload = super()._encode(name, key, value)
        whole = len(name) > 400 and len(name) + len(payload) > 300_000
        return super()._encode(name, key, "x" * 300_000) if whole else payload


@planted("R5-over-limit-commit")
class CommitsWhatFits(Correct):
    """A commit leaves out a value over the limit, and then says that there was one."""

    async def commit(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        try:
            return await super().commit(changes)
        except ValueTooLargeError:
            await super().commit({key: change for key, change in changes.items() if type(change.value) is int})
            raise


@planted("R5-over-limit-each")
class ChangesWhatFits(Each):
    """write_records leaves out a value over the limit, and then says that there was one."""

    async def write_records(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        try:
            return await super().write_records(changes)
        except ValueTooLargeError:
            await super().write_records({key: change for key, change in changes.items() if type(change.value) is int})
            raise


@planted("R0-batch-heavy")
class ReadsAMegabyte(Correct):
    """read_many gives one megabyte, and of the rest that there is more, which nobody reads."""

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        found = await super().get_many(names)
        sizes = accumulate(map(len, found.values()))
        return {name: payload for (name, payload), size in zip(found.items(), sizes, strict=True) if size < 2**20}


@planted("R0-batch-heavy")
class RefusesMegabytes(Correct):
    """write_many of more than two megabytes is refused."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        if sum(map(len, payloads.values())) > 2**21:
            raise StorageError("the request is too large")
        await super().put_many(payloads)
