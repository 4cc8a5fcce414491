"""What the errors of redis-py and of the server mean."""

from redis import exceptions as driver
from redis.asyncio.sentinel import MasterNotFoundError

from satchel import ConfigurationError, CorruptValueError, StorageError, StorageUnavailableError
from satchel.network import unreachable


def translate(error: Exception, where: str) -> StorageError | None:
    """Say what an error of the driver's, or the code that starts an error of the server's, means."""
    if isinstance(error, driver.RedisClusterException) and isinstance(error.__cause__, Exception):
        return translate(error.__cause__, where)  # what its last node said
    if not isinstance(error, driver.RedisError | driver.RedisClusterException):
        return None
    text = str(error)
    code = text.split(" ", 1)[0]
    if read_only(error):
        return StorageUnavailableError(f"{where} is a replica, which takes no writes")
    match error:
        case driver.AuthenticationError() | driver.AuthorizationError():
            return ConfigurationError(f"{where} does not take the user name and password given")
        case driver.NoPermissionError():
            return ConfigurationError(f"{where} forbids its user a command or key: {text}")
        case driver.InvalidResponse():
            return ConfigurationError(f"{where} does not speak the protocol of Redis")
        case driver.AskError():
            return ConfigurationError(f"{where} is one node of a Cluster: use redis+cluster://")
        case MasterNotFoundError():
            return StorageUnavailableError(f"{where}: no Sentinel knows of a master that works")
        case driver.BusyLoadingError():
            return StorageUnavailableError(f"{where} is still loading its data")
        case driver.OutOfMemoryError():
            return StorageUnavailableError(f"{where} has reached its maxmemory")
        case driver.TimeoutError():
            return StorageUnavailableError(f"{where} did not answer in time")
        case driver.ConnectionError():
            return _lost(error, where)
        case driver.ClusterError() | driver.TryAgainError() | driver.SlotNotCoveredError():
            return StorageUnavailableError(f"{where} is in transition: {type(error).__name__}")
    if "WRONGTYPE" in text:
        return CorruptValueError(f"{where} holds something else than a string under this key")
    if "DB index" in text or "SELECT is not allowed" in text:
        return ConfigurationError(f"{where} has no such database")
    if "can't run this command" in text or "ACL failure" in text or "unknown command" in text or code == "DENIED":
        return ConfigurationError(f"{where} forbids a command, or does not have it")
    if "cluster mode" in text.lower() or "cluster support disabled" in text:
        return ConfigurationError(f"{where} is no Cluster: use redis://")
    if code in ("BUSY", "MISCONF", "NOREPLICAS", "UNKILLABLE"):
        return StorageUnavailableError(f"{where} takes no writes now: {code}")
    return StorageError(f"{where} failed: {code if code.isupper() else type(error).__name__}")


def read_only(answer: object) -> bool:
    """Tell whether a server refused a write as it is a replica; Redis 6 quotes what a script of ours met."""
    return isinstance(answer, driver.ReadOnlyError) or (
        isinstance(answer, driver.ResponseError) and "-READONLY " in str(answer)
    )


def _lost(error: Exception, where: str) -> StorageError:
    if (found := unreachable(error, where)) is not None:
        return found
    if isinstance(error, driver.MaxConnectionsError) or "max number of clients" in str(error):
        return StorageUnavailableError(f"{where} has no connection to spare")
    return StorageUnavailableError(f"{where} closed the connection")
