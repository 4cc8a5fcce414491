"""What the errors of the driver mean: statuses of gRPC's, and what Google's library for credentials raises."""

from google.api_core import exceptions as driver
from google.auth import exceptions as credentials

from satchel import ConfigurationError, StorageError, StorageUnavailableError


def translate(error: Exception, where: str) -> StorageError | None:
    """Say what a status of gRPC's means, as the driver raises it (https://cloud.google.com/apis/design/errors)."""
    text = str(error.args[0] if error.args else error).partition("\n")[0]
    match error:
        case credentials.TransportError():
            return StorageUnavailableError(f"{where} cannot be asked: whoever gives tokens cannot be reached")
        case credentials.GoogleAuthError():
            return ConfigurationError(f"{where} cannot be asked: {text}")
        case driver.ServiceUnavailable():
            return _unreachable(text, where)
        case driver.GatewayTimeout():
            return StorageUnavailableError(f"{where} did not answer in time")
        case driver.ServerError() | driver.Cancelled() | driver.Aborted():
            return StorageUnavailableError(f"{where} did not finish: {text}")
        case driver.TooManyRequests():
            return StorageUnavailableError(f"{where} takes no more for now: {text}")
        case driver.Unauthenticated():
            return ConfigurationError(f"{where} does not take the credentials")
        case driver.Forbidden():
            return ConfigurationError(f"{where} forbids it: {text}")
        case driver.NotFound():
            return ConfigurationError(f"{where} does not exist: {text}")
        case driver.FailedPrecondition():  # of a condition that we made, `_commit` knows
            return ConfigurationError(f"{where} cannot be used: {text}")
        case driver.GoogleAPICallError():
            return StorageError(f"{where} failed: {type(error).__name__}")
    return None


def _unreachable(text: str, where: str) -> StorageError:
    if "CERTIFICATE_VERIFY_FAILED" in text or "Peer name" in text:
        return ConfigurationError(f"{where} has no certificate to trust")
    if "handshake failed" in text:
        return ConfigurationError(f"{where} does not speak TLS as asked")
    if "http1.x" in text:
        return ConfigurationError(f"{where} does not speak the protocol of Firestore")
    if any(code in text for code in ("invalid_grant", "invalid_client", "unauthorized_client")):
        return ConfigurationError(f"{where} cannot be asked: the credentials are not valid any more")
    if "metadata from plugin" in text:
        return StorageUnavailableError(f"{where} cannot be asked: whoever gives tokens cannot be reached")
    return StorageUnavailableError(f"{where} cannot be reached: {text.rpartition(': ')[2].rstrip(']')}")
