"""Storages that confuse keys, and namespaces."""

import posixpath
from collections.abc import AsyncIterator, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, World
from satchel import ANY, Expected, InvalidKeyError
from satchel.adapter import EncodedStorage
from satchel.keys import check_key


class Mangles(Correct):
    """Makes another key of a key."""

    def mangle(self, key: str) -> str:
        return key

    def _name(self, key: str) -> str:
        return super()._name(self.mangle(check_key(key)) or "_")


@planted("R4-injective-case", "R4-any-keys", "R1-model")
class IgnoresCase(Mangles):
    """Keys are compared without case, as by a file system or a collation."""

    def mangle(self, key: str) -> str:
        return key.casefold()


@planted("R4-injective-normalization")
class NormalizesKeys(Mangles):
    """Keys are normalised."""

    def mangle(self, key: str) -> str:
        return normalize("NFC", key)


@planted("R4-injective-separators")
class JoinsSeparators(Mangles):
    """Two separators count as one."""

    def mangle(self, key: str) -> str:
        return key.replace("::", ":")


@planted("R4-injective-slashes")
class KeysArePaths(Mangles):
    """Keys are paths, and resolved."""

    def mangle(self, key: str) -> str:
        return posixpath.normpath(key) if "/" in key else key


@planted("R4-injective-trailing")
class StripsKeys(Mangles):
    """Spaces and dots at the end do not count, as on Windows."""

    def mangle(self, key: str) -> str:
        return key.rstrip(" .") if key[0] not in " ." else key


@planted("R4-injective-nul")
class EndsAtNul(Mangles):
    """A key ends at NUL."""

    def mangle(self, key: str) -> str:
        return key.partition("\0")[0] or "\0"


@planted("R4-injective-escapes")
class Unescapes(Mangles):
    """A key is unescaped on its way."""

    def mangle(self, key: str) -> str:
        return unquote(key) if "%" in key and "%%" not in key else key


@planted("R4-injective-numbers")
class NumericKeys(Mangles):
    """A key that looks like a number becomes one."""

    def mangle(self, key: str) -> str:
        return str(int(key)) if key.isdigit() and key.isascii() else key


@planted("R4-injective-wildcards")
class DeletesByPattern(Correct):
    """A key is a pattern for delete."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().drop(name, expected)
        for other in [other for other in self.rows if expected is ANY and fnmatchcase(other, name)]:
            del self.rows[other]
        return there


@planted("R4-longest")
class CutsKeys(Mangles):
    """Keys are cut after 255 characters."""

    def mangle(self, key: str) -> str:
        return key[:255]


@planted("R4-longest-unprintable")
class LongNamesFail(Correct):
    """A name of over 1024 bytes is more than the backend takes."""

    def _name(self, key: str) -> str:
        name = super()._name(key)
        if len(name.encode()) > 1024:
            raise InvalidKeyError("the key is too long once it is escaped")
        return name


@planted("R4-batch-key-spelling")
class BatchSpelling(Correct):
    """read_many gives keys in lower case."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        return {key.lower(): value for key, value in (await super().read_many(keys)).items()}


@planted("R4-refuses-empty")
class TakesEmptyKey(Correct):
    """The empty string is a key."""

    def _name(self, key: str) -> str:
        return super()._name(key if key != "" else "default")


@planted("R4-refuses-too-long")
class CutsTooLong(Correct):
    """A key that is too long is cut."""

    def _name(self, key: str) -> str:
        if isinstance(key, str) and len(key.encode(errors="replace")) > 512:
            key = key.encode()[:512].decode(errors="ignore")
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


@planted("R4-namespaces-injective")
class JoinsWithColon(OtherPrefix):
    """Namespace and key are joined with a colon, and nothing is escaped: `a` + `b:c` is `a:b` + `c`."""


@planted("R4-namespaces-apart", "R4-namespaces-look-alike")
class ForgetsNamespace(OtherPrefix):
    """Only the first characters of the namespace count."""

    def prefix(self, namespace: str) -> str:
        return namespace[:5] + ":"


@planted("R4-namespaces-look-alike")
class LowerNamespace(OtherPrefix):
    """Namespaces are compared without case."""

    def prefix(self, namespace: str) -> str:
        return namespace.lower().replace(":", "%3A") + ":"


@planted("R4-namespaces-listed-apart")
class ListsNeighbours(Correct):
    """A listing gives the keys of every namespace whose name starts alike."""

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for key in super().keys(prefix):
            yield key
        start = self._prefix[:-1]
        for name in list(self.rows):
            if name.startswith(start) and not name.startswith(start + ":"):
                yield name.partition(":")[2]


@planted("R4-namespaces-batched-apart")
class DeletesEverywhere(Correct):
    """delete_many forgets the namespace."""

    async def drop_many(self, names: Sequence[str]) -> None:
        keys = {name.partition(":")[2] for name in names}
        for name in [name for name in self.rows if name.partition(":")[2] in keys]:
            del self.rows[name]


@planted("R4-namespace-refused")
class TakesEmptyNamespace(Correct):
    """An empty namespace is the default one."""

    def __init__(self, world: World, *, namespace: str = "satchel", **options: Any) -> None:
        super().__init__(world, namespace=namespace if namespace != "" else "satchel", **options)


@planted("R5-over-limit", "R5-over-limit-versioned", "R5-over-limit-batch")
class NoLimit(Correct):
    """A value over the declared limit is stored."""

    def _encode(self, key: str, value: Any) -> bytes:
        return self.codec.encode(value)


@planted("R5-limit-fits")
class SmallerLimit(Correct):
    """The declared limit is more than what is taken."""

    def _encode(self, key: str, value: Any) -> bytes:
        payload = super()._encode(key, value)
        return EncodedStorage._encode(self, key, ["x" * 300_000]) if len(payload) > 299_000 else payload
