"""The typed codec, on msgspec: dataclasses, TypedDicts, Structs, dates and their mixtures as plain JSON."""

import re

import msgspec

from satchel.codecs import JSON, Codec
from satchel.errors import ConfigurationError, CorruptValueError, UnsupportedValueError
from satchel.storage import V

_PATH = re.compile(r" - at `([^`]*)`$")


class TypedCodec(Codec[V]):
    """Values of one type; see `satchel.typed`."""

    def __init__(self, kind: type[V]) -> None:
        try:
            msgspec.json.schema_components([kind])
        except TypeError as error:
            raise ConfigurationError(f"typed() cannot hold {getattr(kind, '__name__', kind)}: {error}") from error
        self._kind = kind

    def encode(self, value: V) -> bytes:
        """Return `value` as JSON.

        Raises:
            UnsupportedValueError: it is not of the type, or would not come back as it is.
        """
        try:
            tree = msgspec.to_builtins(value, str_keys=True)
            back = msgspec.convert(tree, self._kind, str_keys=True)
            same = _sorted(back) == _sorted(value)
        except msgspec.ValidationError as error:
            raise UnsupportedValueError(f"is not {self._name}: {_reason(error)}", path=_path(error)) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise UnsupportedValueError(f"is not {self._name}: {type(error).__name__}") from error
        payload = JSON.encode(tree)  # before the comparison, since it names the path of what is not even JSON
        if not same:
            raise UnsupportedValueError(f"would not come back as it is from {self._name}")
        return payload

    def decode(self, payload: bytes) -> V:
        """Return the value of a JSON text.

        Raises:
            CorruptValueError: it is not JSON, or not of the type.
        """
        tree = JSON.decode(payload)
        try:
            value: V = msgspec.convert(tree, self._kind, str_keys=True)
        except msgspec.ValidationError as error:
            raise CorruptValueError(f"not {self._name}: {_path(error)} {_reason(error)}") from None
        return value

    @property
    def _name(self) -> str:
        return getattr(self._kind, "__name__", None) or str(self._kind)


def _sorted(value: object) -> object:
    """Return `value` as JSON types that compare equal whatever order its sets have."""
    return msgspec.to_builtins(value, str_keys=True, order="deterministic")


def _path(error: Exception) -> str:
    found = _PATH.search(str(error))
    return found[1] if found else "$"


def _reason(error: Exception) -> str:
    """Return what msgspec says, up to anything that may quote the value."""
    return _PATH.sub("", str(error)).split("'", 1)[0].strip()
