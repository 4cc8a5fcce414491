"""Codecs: from a value to the bytes that are stored, and back to exactly that value."""

import json
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn

from satchel.errors import ConfigurationError, CorruptValueError, UnsupportedValueError
from satchel.storage import V

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH: Final = 200
"""The deepest nesting of objects and arrays that JSON is stored with."""


class Codec(Generic[V]):
    """Turns a value into bytes and back. Derive from it, and override both methods.

    Attributes:
        is_text: the bytes are UTF-8 text, so that a backend may keep them in a text column.
    """

    is_text = True

    @property
    def plain(self) -> "Codec[V]":
        """The codec without what compresses and encrypts: equal values always become the same bytes."""
        return self

    def bound(self, name: str) -> "Codec[V]":
        """Return the codec for the record of this name, which an encrypted one ties what it makes to."""
        return self

    def compressed(self, *, threshold: int = 512, limit: int = 64 * 1024 * 1024) -> "Codec[V]":
        """Return this codec with what it makes deflated by zlib; records that are not compressed yet stay readable.

            storage = SQLiteStorage("bot.db", codec=JSON.compressed())

        Args:
            threshold: what has fewer bytes stays as it is, as does what would not become smaller.
            limit: the most bytes before compression. More is refused on writing, and on reading, where a few stored
                bytes could else fill the memory.

        Raises:
            ConfigurationError: a number is not positive, or the codec compresses or encrypts already.
        """
        from satchel.compression import CompressedCodec

        return CompressedCodec(self, threshold, limit)

    def encrypted(self, keys: "str | Iterable[str]", *, reads_plain: bool = False) -> "Codec[V]":
        """Return this codec with what it makes encrypted, and tied to its record: a copy in another one is refused.

            storage = SQLiteStorage("bot.db", codec=JSON.compressed().encrypted(os.environ["SATCHEL_KEYS"]))

        The first key encrypts and all of them decrypt, so to change keys put the new one before the old one. Keys are
        made by `satchel.encryption.generate_key()`. Needs `pip install "satchel[encryption]"`. What a stolen database
        still tells is said in `satchel.encryption`.

        Args:
            keys: one or more keys of 32 bytes in Base64; in one string they are separated by commas or spaces.
            reads_plain: what was written before there was encryption is read, too. Whoever can write to the database
                can then put forged records there, so it is for the time of the change.

        Raises:
            ConfigurationError: cryptography is missing, a key is none, or the codec encrypts already.
        """
        try:
            from satchel.encryption import EncryptedCodec
        except ImportError as error:
            raise ConfigurationError('encrypted() needs cryptography: pip install "satchel[encryption]"') from error
        return EncryptedCodec(self, keys, reads_plain=reads_plain)

    def encode(self, value: V) -> bytes:
        """Return the bytes to store for `value`.

        Raises:
            UnsupportedValueError: `decode` would not return exactly this value.
        """
        raise NotImplementedError

    def decode(self, payload: bytes) -> V:
        """Return the value that `payload` was made of.

        Raises:
            CorruptValueError: it was not made by this codec.
        """
        raise NotImplementedError


class JSONCodec(Codec[Any]):
    """Strict JSON: dict with string keys, list, str, int, float, bool and (inside) None, returned exactly as written.

    Types are exact: a subclass, a tuple, an enum, a date would come back as something else, so they are refused. Up to
    200 levels of nesting; integers of up to 4 300 digits (`sys.get_int_max_str_digits`).
    """

    def encode(self, value: Any) -> bytes:
        """Return `value` as compact UTF-8 JSON.

        Raises:
            UnsupportedValueError: a part of it is not JSON; the error names its path.
        """
        try:
            if value is not None and _is_json(value, MAX_DEPTH - 1):
                return _to_text(value).encode()
        except (ValueError, RecursionError):
            pass  # not a finite number, a lone surrogate, too many digits: said with its path below
        _refuse(value, "$", 0)
        raise UnsupportedValueError("cannot be encoded as JSON")

    def decode(self, payload: bytes) -> Any:
        """Return the value of a JSON text.

        Raises:
            CorruptValueError: it is not valid UTF-8, not strict JSON, or `null`.
        """
        try:
            value = _from_text(payload.decode())
        except (ValueError, RecursionError) as error:
            raise CorruptValueError(f"not JSON: {error}") from error
        if value is None:
            raise CorruptValueError("not a session: null")
        return value


def typed(kind: type[V]) -> Codec[V]:
    """Return a codec for values of one type: a dataclass, TypedDict, msgspec.Struct, datetime, or any mix of them.

    What is stored stays plain JSON; dates are ISO 8601 text. Needs `pip install "satchel[typed]"`.

        storage = SQLiteStorage("bot.db", codec=typed(MySession))

    Raises:
        ConfigurationError: msgspec is missing, or it does not support the type.
    """
    try:
        from satchel._typed import TypedCodec
    except ImportError as error:
        raise ConfigurationError('typed() needs msgspec: pip install "satchel[typed]"') from error
    return TypedCodec(kind)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_to_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
_from_text = json.JSONDecoder(parse_constant=_constant).decode

_LEAVES: Final = frozenset((str, int, float, bool, type(None)))


def _is_json(value: Any, depth: int) -> bool:
    """Check types only, with up to `depth` levels inside. It runs on every write, so it calls nothing for a leaf."""
    kind = type(value)
    if kind is dict:
        for name, child in value.items():
            if type(name) is not str:
                return False
            if type(child) not in _LEAVES and not (depth and _is_json(child, depth - 1)):
                return False
        return True
    if kind is list:
        for child in value:  # noqa: SIM110 - in a generator it is slower
            if type(child) not in _LEAVES and not (depth and _is_json(child, depth - 1)):
                return False
        return True
    return kind in _LEAVES


def _refuse(value: Any, path: str, depth: int) -> None:
    """Find what is wrong with `value`, and raise with its path."""
    if value is None:
        if not depth:
            raise UnsupportedValueError("is None, which means absent: delete the key instead", path=path)
        return
    if depth > MAX_DEPTH:
        raise UnsupportedValueError(f"is nested deeper than {MAX_DEPTH} levels", path=path)
    kind = type(value)
    if kind not in _LEAVES and kind not in (dict, list):
        raise UnsupportedValueError(f"is {_a(value)}, which JSON cannot hold: convert it, or use typed()", path=path)
    if isinstance(value, dict):
        for name, child in value.items():
            if type(name) is not str:
                raise UnsupportedValueError(f"has a key that is {_a(name)}, not a string", path=path)
            if not _is_utf8(name):
                raise UnsupportedValueError("has a key with a lone surrogate", path=path)
            _refuse(child, path + step(name), depth + 1)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _refuse(child, f"{path}[{index}]", depth + 1)
    elif isinstance(value, str):
        if not _is_utf8(value):
            raise UnsupportedValueError("has a lone surrogate", path=path)
    elif isinstance(value, float):
        if not isfinite(value):
            raise UnsupportedValueError("is not a finite number", path=path)
    else:
        try:
            str(value)
        except ValueError:
            raise UnsupportedValueError("is an integer of too many digits", path=path) from None


def step(name: str) -> str:
    """Return what the key of an object adds to a path: `.user`, or `["a b"]`."""
    return f".{name}" if name.isidentifier() and name.isascii() else f"[{json.dumps(name)}]"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _a(thing: object) -> str:
    name = type(thing).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


JSON: Final = JSONCodec()
"""The default codec."""
