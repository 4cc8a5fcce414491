"""What kept a driver from its server, found in the chain of errors that led to the driver's own."""

import ssl
from typing import TypeVar

from satchel.errors import ConfigurationError, StorageError, StorageUnavailableError

E = TypeVar("E", bound=BaseException)


def in_chain(error: BaseException | None, kind: type[E]) -> E | None:
    """Return the first error of a kind among those that led to `error`, itself included."""
    while error is not None and not isinstance(error, kind):
        inner = getattr(error, "reason", None)  # urllib3 keeps it there
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
    return error


def unreachable(error: BaseException | None, where: str) -> StorageError | None:
    """Say why TLS or the network failed, or return None if no error of theirs led to this one.

    Args:
        error: the driver's.
        where: the server, as messages name it.
    """
    if (untrusted := in_chain(error, ssl.SSLCertVerificationError)) is not None:
        return ConfigurationError(f"{where} has no certificate to trust: {untrusted.verify_message}")
    if (insecure := in_chain(error, ssl.SSLError)) is not None:
        return ConfigurationError(f"{where} does not speak TLS as asked: {insecure.reason}")
    if (cause := in_chain(error, OSError)) is not None:
        return StorageUnavailableError(f"{where} cannot be reached: {cause.strerror or cause}")
    return None
