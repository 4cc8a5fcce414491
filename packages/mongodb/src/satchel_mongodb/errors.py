"""What the errors of pymongo, and the codes of the server's, mean."""

from typing import Any, Final

from bson.errors import InvalidBSON
from pymongo import AsyncMongoClient
from pymongo import errors as driver

from satchel import ConfigurationError, CorruptValueError, StorageError, StorageUnavailableError

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_MISTAKEN: Final = {
    20: "is a collection of a kind that cannot hold sessions",  # IllegalOperation: say, capped
    59: "is a server without a command that sessions need",  # CommandNotFound
    67: "is a collection that takes no TTL index",  # CannotCreateIndex: say, capped
    73: "is not a name that the server takes",  # InvalidNamespace
    85: "has an index on expires_at that removes nothing: drop it",  # IndexOptionsConflict
    86: "has another index of the name expires_at_1: drop it",  # IndexKeySpecsConflict
    121: "has a validator that refuses sessions",  # DocumentValidationFailure
    166: "is a view, not a collection",  # CommandNotSupportedOnView
}
_PASSING: Final = frozenset(
    (
        6,  # HostUnreachable
        7,  # HostNotFound
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference
        175,  # QueryPlanKilled
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted: by killOp
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    )
)


def translate(error: Exception, client: AsyncMongoClient[Any], where: str) -> StorageError | None:
    """Say what an error of the driver's, or the code of one of the server's, means."""
    match error:
        case driver.ServerSelectionTimeoutError():
            return _unreachable(client, where)
        case TimeoutError() if not client.topology_description.has_writable_server():
            return _unreachable(client, where)  # ours was faster than the driver's
        case driver.NotPrimaryError():
            return StorageUnavailableError(f"{where} has no primary at the moment")
        case driver.WaitQueueTimeoutError():
            return StorageUnavailableError(f"{where} has no connection to spare")
        case driver.NetworkTimeout():
            return StorageUnavailableError(f"{where} did not answer in time")
        case driver.ConnectionFailure():
            return StorageUnavailableError(f"{where} closed the connection")
        case driver.OperationFailure():
            return _refused(error, where)
        case driver.ConfigurationError():
            if type(error.__cause__).__module__.startswith("dns."):
                return StorageUnavailableError(f"{where} cannot be found in the DNS: {error}")
            return ConfigurationError(f"{where} cannot be used: {error}")
        case driver.InvalidOperation():
            return ConfigurationError(f"{where} cannot be used: its client is closed")
        case InvalidBSON():
            return CorruptValueError(f"{where} holds a document that is not BSON")
        case RuntimeError() if "event loop" in str(error):
            return ConfigurationError(f"{where} has a client that belongs to another event loop")
    return None


def _unreachable(client: AsyncMongoClient[Any], where: str) -> StorageError:
    """Say what the driver knows of the servers, none of which will do."""
    servers = client.topology_description.server_descriptions().values()
    if not servers:  # it has turned them all down
        return ConfigurationError(f"{where} is no replica set of the name given")
    if any(server.is_server_type_known for server in servers):
        return StorageUnavailableError(f"{where} has no primary at the moment")
    for error in (server.error for server in servers if server.error is not None):
        reason = str(error).partition(" (configured timeouts")[0].rstrip(": ")
        if isinstance(error, driver.ProtocolError):
            return ConfigurationError(f"{where} does not speak the protocol of MongoDB")
        if "configured to connect" in reason:
            return ConfigurationError(f"{where} is no replica set of the name given")
        if "CERTIFICATE_VERIFY_FAILED" in reason or "doesn't match" in reason:
            return ConfigurationError(f"{where} has no certificate to trust: {reason}")
        if "SSL" in reason:
            return ConfigurationError(f"{where} does not speak TLS as asked: {reason}")
        return StorageUnavailableError(f"{where} cannot be reached: {reason}")
    return StorageUnavailableError(f"{where} did not answer in time")


def _refused(error: driver.OperationFailure, where: str) -> StorageError:
    details = error.details or {}
    inside = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]  # of a bulk write
    code = inside[0].get("code") if inside else error.code
    if code == 18 or (code == 8000 and "auth" in str(error)):  # AuthenticationFailed, and Atlas's word for it
        return ConfigurationError(f"{where} does not take the user name and password given")
    if code == 13:  # Unauthorized
        return ConfigurationError(f"{where} forbids its user something; `satchel schema` prints what it needs")
    if code in _MISTAKEN:
        return ConfigurationError(f"{where} {_MISTAKEN[code]}")
    if code in _PASSING or isinstance(error, driver.WriteConcernError) or error.timeout:
        return StorageUnavailableError(f"{where} cannot do it now: {details.get('codeName', code)}")
    return StorageError(f"{where} failed: {details.get('codeName', code)}")
