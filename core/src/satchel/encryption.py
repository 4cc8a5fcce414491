"""Encryption at rest, by the `cryptography` library; `Codec.encrypted` says how to use it.

Each record is sealed by AES-256-GCM-SIV (RFC 8452) with a random nonce, and with its namespace and key as associated
data: a record that was changed, or copied from another key or namespace, is refused. AES-GCM-SIV and not AES-GCM, since
a busy bot writes more records under one key than is safe with the random nonces of AES-GCM.

At rest: five bytes, FF and `siv1`; eight that tell which key it was; twelve of the nonce; and the ciphertext, which is
sixteen bytes longer than the text.

Who steals the database learns neither values nor keys of encryption. Still to be seen are the *names* of records, which
are session keys and often users' ids (`satchel.wrappers.HiddenKeys` hides them, too); how many records there are, their
sizes, and when they change and end. After compression the size tells a little of the content: leave `compressed()` out
where strangers can choose a part of what is stored beside a secret, and watch its size. Who can also *write* to the
database can delete a record, or put back an older state of the same one.
"""

import hmac
import re
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from satchel.codecs import Codec
from satchel.errors import ConfigurationError, ConflictError, CorruptValueError
from satchel.storage import Listing, V, Versioned

_MARK: Final = b"\xffsiv1"
_ID: Final = slice(len(_MARK), len(_MARK) + 8)
_NONCE: Final = slice(_ID.stop, _ID.stop + 12)
_TAG: Final = 16


def generate_key() -> str:
    """Return a new random key: 32 bytes in Base64, 44 characters. Keep it as you keep a password, and a copy of it."""
    return urlsafe_b64encode(secrets.token_bytes(32)).decode()


async def rotate(storage: Any) -> int:
    """Write every record of a storage anew, so by its first key, and return how many; the older keys are free then.

    Sessions may be in use meanwhile: what somebody else writes in between is as new. A record's lifetime starts anew.

    Args:
        storage: one with versions and listing.

    Raises:
        ConfigurationError: it has not both.
    """
    if not isinstance(storage, Versioned) or not isinstance(storage, Listing):
        raise ConfigurationError(f"{storage!r} has no versions, or cannot list its keys: copy it instead")
    count = 0
    async for key in storage.keys():
        record = await storage.read_versioned(key)
        if record is not None:
            try:
                await storage.write_versioned(key, record.value, record.version)
            except ConflictError:
                continue
            count += 1
    return count


def secret_of(key: object, called: str) -> bytes:
    """Return the 32 bytes of a key in Base64, of either alphabet.

    Raises:
        ConfigurationError: it is none; the message calls it `called`.
    """
    try:
        if isinstance(key, str):
            secret = b64decode(key.replace("-", "+").replace("_", "/"), validate=True)
            if len(secret) == 32:
                return secret
    except ValueError:
        pass  # said without the key, below
    raise ConfigurationError(
        f"{called} is not 32 bytes in Base64; satchel.encryption.generate_key() makes one"
    ) from None


class EncryptedCodec(Codec[V]):
    """What another codec makes, encrypted for one record."""

    is_text = False

    def __init__(
        self, inner: Codec[V], keys: "str | Iterable[str] | _Keys", *, reads_plain: bool, name: str = ""
    ) -> None:
        self._inner = inner
        self._keys = keys if isinstance(keys, _Keys) else _Keys(keys)
        self._reads_plain = reads_plain
        self._name = name

    @property
    def plain(self) -> Codec[V]:
        """The codec that this one encrypts."""
        return self._inner.plain

    def bound(self, name: str) -> Codec[V]:
        """Return the codec for one record."""
        return EncryptedCodec(self._inner.bound(name), self._keys, reads_plain=self._reads_plain, name=name)

    def encode(self, value: V) -> bytes:
        """Return the bytes for `value`, encrypted by the first key; they are others each time."""
        return self._keys.seal(self._inner.encode(value), self._associated())

    def decode(self, payload: bytes) -> V:
        """Return the value that was encrypted.

        Raises:
            CorruptValueError: it is damaged, was encrypted for another record, or is not encrypted at all.
            ConfigurationError: none of the keys is the one that it was encrypted with.
        """
        if payload.startswith(_MARK):
            payload = self._keys.unseal(payload, self._associated())
        elif not self._reads_plain:
            raise CorruptValueError("not encrypted, and reads_plain is not set")
        return self._inner.decode(payload)

    def compressed(self, *, threshold: int = 0, limit: int = 0) -> NoReturn:
        """Refuse: what is encrypted cannot become smaller."""
        raise ConfigurationError("what is encrypted cannot be compressed: it is .compressed().encrypted(keys)")

    def encrypted(self, keys: str | Iterable[str], *, reads_plain: bool = False) -> NoReturn:
        """Refuse: a second key belongs beside the first."""
        raise ConfigurationError("the codec encrypts already; several keys are given at once")

    def _associated(self) -> bytes:
        if not self._name:
            raise ConfigurationError("an encrypted codec works for one record: codec.bound(name)")
        return self._name.encode()


class _Keys:
    """Keys by their ids; an id is made of the key, so nobody has to hand them out."""

    def __init__(self, keys: str | Iterable[str]) -> None:
        if isinstance(keys, bytes) or not isinstance(keys, Iterable):
            raise ConfigurationError(f"encrypted() takes keys in Base64, not {type(keys).__name__}")
        given = re.split(r"[\s,]+", keys.strip(" ,\r\n\t")) if isinstance(keys, str) else list(keys)
        if not given:
            raise ConfigurationError("encrypted() takes at least one key")
        secret = [secret_of(key, f"encryption key {number} of {len(given)}") for number, key in enumerate(given, 1)]
        try:
            self._ciphers = {hmac.digest(key, b"satchel key id", "sha256")[:8]: AESGCMSIV(key) for key in secret}
        except UnsupportedAlgorithm as error:
            raise ConfigurationError("cryptography stands on an OpenSSL without AES-GCM-SIV: it takes 3.2") from error
        self._first = next(iter(self._ciphers))

    def seal(self, text: bytes, associated: bytes) -> bytes:
        head, nonce = _MARK + self._first, secrets.token_bytes(12)
        return head + nonce + self._ciphers[self._first].encrypt(nonce, text, head + associated)

    def unseal(self, payload: bytes, associated: bytes) -> bytes:
        if len(payload) < _NONCE.stop + _TAG:
            raise CorruptValueError("damaged: it is shorter than anything encrypted")
        cipher = self._ciphers.get(payload[_ID])
        if cipher is None:
            raise ConfigurationError(f"encrypted with key {payload[_ID].hex()}, which is not among those given")
        try:
            return cipher.decrypt(payload[_NONCE], payload[_NONCE.stop :], payload[: _ID.stop] + associated)
        except InvalidTag:
            raise CorruptValueError("not what was encrypted for it: damaged, or copied from another record") from None
