"""What the errors of botocore, and the codes of AWS, mean."""

import ssl
from typing import Final

from botocore import exceptions as driver
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from satchel.errors import ConfigurationError, StorageError, StorageUnavailableError
from satchel.network import in_chain, unreachable

# Refused before anything was done, so that the same request may be sent again:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html and
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",  # somebody else's transaction is just at the item
    }
)
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccountProblem", "403"})
_UNKNOWN: Final = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
_SKEWED: Final = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
_ELSEWHERE: Final = frozenset(
    {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)


def code_of(error: ClientError) -> str:
    """Return the code of an error that a server answered with."""
    return str(error.response.get("Error", {}).get("Code", ""))


def translate(error: Exception, where: str) -> StorageError | None:
    """Say what an error of botocore's means, or return None for one that is not botocore's.

    What depends on the service, the service is to say before.
    """
    match error:
        case ClientError():
            return _refused(error, where)
        case driver.NoCredentialsError() | driver.PartialCredentialsError() | driver.CredentialRetrievalError():
            return ConfigurationError(
                f"{where} needs AWS credentials, and none were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or give the machine a role"
            )
        case driver.TokenRetrievalError() | driver.UnauthorizedSSOTokenError() | driver.SSOTokenLoadError():
            return ConfigurationError(f"{where} needs a new login: aws sso login")
        case driver.NoRegionError():
            return ConfigurationError(f"{where} needs a region: region=, AWS_REGION, or one in the profile")
        case driver.ProfileNotFound() | driver.ConfigNotFound() | driver.ConfigParseError():
            return ConfigurationError(f"{where} cannot use the AWS configuration: {_line(error)}")
        case driver.SSLError():
            untrusted = in_chain(error, ssl.SSLCertVerificationError)  # urllib3 has errors of its own about names
            why = untrusted.verify_message if untrusted else _line(error.kwargs.get("error"))
            return ConfigurationError(f"{where} has no certificate to trust: {why}")
        case driver.ConnectTimeoutError() | driver.ReadTimeoutError():
            return StorageUnavailableError(f"{where} did not answer in time")
        case driver.EndpointConnectionError() | driver.ProxyConnectionError():
            return unreachable(error.kwargs.get("error"), where) or StorageUnavailableError(
                f"{where} cannot be reached"
            )
        case driver.HTTPClientError() | driver.IncompleteReadError() | driver.ConnectionError():
            return StorageUnavailableError(f"{where} closed the connection")
        case ResponseParserError():
            return StorageUnavailableError(f"{where} gives answers that make no sense")
        case _:
            return None


def _refused(error: ClientError, where: str) -> StorageError:
    code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in THROTTLED:
        return StorageUnavailableError(f"{where} is asked for more than it gives: {code}")
    if code in _UNKNOWN:
        return ConfigurationError(f"{where} does not take the AWS credentials given: {code}")
    if code in _EXPIRED:
        return ConfigurationError(f"{where} does not take the AWS credentials given any more: {code}")
    if code in _SKEWED:
        return ConfigurationError(f"{where} finds the clock of this machine wrong: {code}")
    if code in _ELSEWHERE:
        return ConfigurationError(f"{where} is in another region: {code}")
    if code in _DENIED or "AccessDenied" in code:
        said = error.response.get("Error", {}).get("Message") or ""
        return ConfigurationError(
            f"{where} forbids its user a call: {error.operation_name}. {_line(said)}".rstrip(". ")
        )
    if status == 403:
        return ConfigurationError(f"{where} forbids its user a call: {error.operation_name} ({code})")
    if status >= 500 or code in ("RequestTimeout", "RequestTimeoutException"):
        return StorageUnavailableError(f"{where} has trouble: {code}")
    return StorageError(f"{where} failed: {code}")


def _line(text: object) -> str:
    """Return what a driver or a server says on one line, shortened."""
    line = " ".join(str(text).split())
    return line if len(line) <= 300 else line[:297] + "..."
