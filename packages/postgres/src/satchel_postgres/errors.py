"""What the errors of psycopg, libpq and the server mean."""

import re
from typing import Final

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from satchel import (
    ConfigurationError,
    CorruptValueError,
    StorageError,
    StorageUnavailableError,
    UnsupportedValueError,
)

# What libpq and servers say, in English, of what does not pass by itself.
_WRONG: Final = re.compile(
    "authentication failed|password supplied|pg_hba|does not exist|no such (user|database)|not permitted"
    "|[Pp]ermission denied|certificate|SSL error: (?!unexpected eof)|weak sslmode|invalid [a-z_ ]*(value|number)"
    "|bad value|definition of service|received invalid response|expected authentication|startup parameter"
    "|ProactorEventLoop"
)


def translate(error: Exception, where: str) -> StorageError | None:
    """Say what a SQLSTATE means (Documentation, "Appendix A. PostgreSQL Error Codes"), or a failure to connect."""
    match error:
        case PoolClosed():
            return ConfigurationError(f"{where} cannot be used: {error}")
        case PoolTimeout() | TooManyRequests():
            return StorageUnavailableError(f"{where} cannot be reached, or has no connection to spare: {error}")
        case errors.InsufficientPrivilege():
            return ConfigurationError(f"{where} forbids its user something: {error.diag.message_primary}")
        case errors.UndefinedTable() | errors.UndefinedColumn() | errors.InvalidSchemaName():
            return ConfigurationError(f"{where} lacks something: {error.diag.message_primary}")
        case errors.InvalidSqlStatementName() | errors.DuplicatePreparedStatement():
            return ConfigurationError(f"{where} is a pooler, which needs prepare_threshold=None")
        case errors.ProtocolViolation() if "prepared statement" in (error.diag.message_primary or ""):
            # It has another client's of the same name, which takes other parameters.
            return ConfigurationError(f"{where} is a pooler, which needs prepare_threshold=None")
        case errors.UntranslatableCharacter() | errors.NumericValueOutOfRange():
            return UnsupportedValueError("has something that a column of jsonb cannot hold")
        case errors.ReadOnlySqlTransaction():
            return StorageUnavailableError(f"{where} takes no writes: it is a standby, or set to read only")
        case errors.QueryCanceled() | errors.LockNotAvailable():
            return StorageUnavailableError(f"{where} gave up a statement: {error.diag.message_primary}")
        case errors.DataCorrupted() | errors.IndexCorrupted():
            return CorruptValueError(f"{where} is damaged: {type(error).__name__}")
        case psycopg.Error() if error.sqlstate is None:
            return _disconnected(error, where)
        case psycopg.Error():
            return _of_class(str(error.sqlstate), type(error).__name__, where)
    return None


def _of_class(code: str, name: str, where: str) -> StorageError:
    """Return the error for a SQLSTATE by its class, which is its first two characters."""
    if code[:2] in ("08", "40", "53", "55", "57", "58"):
        return StorageUnavailableError(f"{where} cannot do it now: {name} ({code})")
    if code[:2] in ("28", "3D", "42"):
        return ConfigurationError(f"{where} refuses: {name} ({code})")
    return StorageError(f"{where} failed: {name} ({code})")


def _disconnected(error: psycopg.Error, where: str) -> StorageError:
    """Tell apart what an operator has to mend from what passes: there is only libpq's text to tell it by."""
    first = str(error).partition("\n")[0]
    reason = first.rpartition(" failed: ")[2].removeprefix("connection is bad: ").removeprefix("FATAL:").strip()
    if "does not support SSL" in first:
        return ConfigurationError(f"{where} offers no TLS: if the network can be trusted, say sslmode=disable")
    if _WRONG.search(first):
        return ConfigurationError(f"{where} cannot be used like this: {reason}")
    if "closed" in first or "SYSCALL" in first or " eof " in first:
        return StorageUnavailableError(f"{where} closed the connection")
    return StorageUnavailableError(f"{where} cannot be reached: {reason}")
