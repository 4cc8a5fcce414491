"""Names of records that tell nothing: session keys, encrypted."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from satchel.capabilities import Capabilities
from satchel.errors import ConfigurationError, InvalidKeyError, StorageError
from satchel.keys import check_key, show
from satchel.storage import Change, Record, StorageAdapter, V
from satchel.wrappers.base import Wrapper, closing

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

_ASSOCIATED: Final = [b"satchel session key"]
_TAG: Final = 16


class HiddenKeys(Wrapper[V]):
    """Stores each record under its key encrypted, so that a stolen database does not even tell who talks to the bot.

        storage = HiddenKeys(
            open_storage("redis://localhost", codec=JSON.compressed().encrypted(keys)), os.environ["SATCHEL_NAMES_KEY"]
        )

    The same key is always the same name (AES-256-SIV, RFC 5297), or nothing would be found again. Listing works, but
    looks at the whole namespace, whatever the prefix. What is stored under plain keys is not found: copy it. The secret
    cannot be changed in place, as the names would: copy the storage.

    Args:
        storage: the storage inside.
        secret: 32 bytes in Base64; `satchel.encryption.generate_key()` makes one.

    Raises:
        ConfigurationError: the secret is none, or cryptography is missing: pip install "satchel[encryption]".
    """

    def __init__(self, storage: StorageAdapter[V], secret: str, /) -> None:
        super().__init__(storage)
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESSIV
            from cryptography.hazmat.primitives.hashes import SHA512
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF

            from satchel.encryption import secret_of
        except ImportError as error:
            raise ConfigurationError('HiddenKeys needs cryptography: pip install "satchel[encryption]"') from error
        made_of = secret_of(secret, "the secret of HiddenKeys")
        # SIV takes two keys of 32 bytes, and one secret may serve values, too.
        self._cipher = AESSIV(HKDF(SHA512(), 64, salt=None, info=b"satchel session keys").derive(made_of))

    @property
    def capabilities(self) -> Capabilities:
        """Those of the storage inside, with keys as long as they can be to fit into its own."""
        inside = super().capabilities
        return replace(inside, max_key_bytes=inside.max_key_bytes * 3 // 4 - _TAG)

    async def read(self, key: str) -> V | None:
        return await self._named(key, self.inner.read)

    async def write(self, key: str, value: V) -> None:
        await self._named(key, self.inner.write, value)

    async def delete(self, key: str) -> None:
        await self._named(key, self.inner.delete)

    async def read_versioned(self, key: str) -> Record[V] | None:
        return await self._named(key, self.inner.read_versioned)

    async def write_versioned(self, key: str, value: V, expected: str | None) -> str:
        return await self._named(key, self.inner.write_versioned, value, expected)

    async def delete_versioned(self, key: str, expected: str) -> None:
        await self._named(key, self.inner.delete_versioned, expected)

    async def touch(self, key: str) -> bool:
        return await self._named(key, self.inner.touch)

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        if prefix != "":
            check_key(prefix)
        async with closing(self.inner.keys()) as names:
            async for name in names:
                if (key := self._unhidden(name)).startswith(prefix):
                    yield key

    async def read_many(self, keys: Iterable[str]) -> dict[str, V]:
        names = {self._hidden(key): key for key in keys}
        with _telling(names):
            found = await self.inner.read_many(names)
        return {names[name]: value for name, value in found.items()}

    async def write_many(self, values: Mapping[str, V]) -> None:
        names = {self._hidden(key): key for key in values}
        with _telling(names):
            await self.inner.write_many({name: values[key] for name, key in names.items()})

    async def delete_many(self, keys: Iterable[str]) -> None:
        names = {self._hidden(key): key for key in keys}
        with _telling(names):
            await self.inner.delete_many(names)

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        names = {self._hidden(key): key for key in keys}
        with _telling(names):
            found = await self.inner.read_records(names)
        return {names[name]: record for name, record in found.items()}

    async def commit(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        names = {self._hidden(key): key for key in changes}
        with _telling(names):
            versions = await self.inner.commit({name: changes[key] for name, key in names.items()})
        return {names[name]: version for name, version in versions.items()}

    async def write_records(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        names = {self._hidden(key): key for key in changes}
        with _telling(names):
            versions = await self.inner.write_records({name: changes[key] for name, key in names.items()})
        return {names[name]: version for name, version in versions.items()}

    async def _named(self, key: str, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        name = self._hidden(key)
        with _telling({name: key}):
            return await call(name, *arguments)

    def _hidden(self, key: str) -> str:
        text = check_key(key).encode()
        limit = self.capabilities.max_key_bytes
        if len(text) > limit:
            raise InvalidKeyError(f"session key {show(key)} has {len(text)} UTF-8 bytes; hidden, the limit is {limit}")
        return urlsafe_b64encode(self._cipher.encrypt(text, _ASSOCIATED)).decode().rstrip("=")

    def _unhidden(self, name: str) -> str:
        from cryptography.exceptions import InvalidTag

        try:
            sealed = urlsafe_b64decode(name + "=" * (-len(name) % 4))
            return self._cipher.decrypt(sealed, _ASSOCIATED).decode()
        except (InvalidTag, ValueError):
            raise ConfigurationError(f"{self.inner!r} holds a key that was not hidden by this secret") from None


@contextmanager
def _telling(keys: Mapping[str, str]) -> "Iterator[None]":
    """Name session keys in errors, in place of what they are stored as."""

    def told(text: Any) -> Any:
        for name, key in keys.items():
            text = text.replace(show(name), show(key)) if isinstance(text, str) else text
        return text

    try:
        yield
    except StorageError as error:
        error.args = tuple(map(told, error.args))
        if notes := getattr(error, "__notes__", []):
            notes[:] = map(told, notes)
        raise
