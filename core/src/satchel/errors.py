"""The errors that Satchel raises, as one tree under `SatchelError`.

No message holds a stored value or a secret. What a driver raised is the `__cause__`.
"""


class SatchelError(Exception):
    """Everything that Satchel raises."""


class StorageError(SatchelError):
    """A storage could not do what was asked. Nothing was half-written."""


class StorageUnavailableError(StorageError):
    """The backend cannot be reached, is overloaded, or did not answer in time. Trying again may help."""


class ConflictError(StorageError):
    """The record is not at the expected version: somebody else wrote it in between."""


class InvalidKeyError(StorageError):
    """The key is not a non-empty string of up to 512 UTF-8 bytes."""


class UnsupportedValueError(StorageError):
    """The value is not one that the codec can return exactly as it was given.

    Attributes:
        path: where in the value the trouble is, such as `$.user.joined`.
    """

    def __init__(self, message: str, *, path: str = "$") -> None:
        super().__init__(f"{path} {message}")
        self.path = path


class ValueTooLargeError(StorageError):
    """The encoded value is over the backend's limit; the old value stays.

    Attributes:
        size: the encoded value's size in bytes.
        limit: the largest size that the storage takes, in bytes.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class CorruptValueError(StorageError):
    """What is stored under the key cannot be decoded. It is left as it is."""


class StorageClosedError(StorageError):
    """The storage was used after `aclose()`."""


class ReadOnlyError(StorageError):
    """The storage was opened for reading only, and asked to change something."""


class ConfigurationError(StorageError):
    """The storage cannot work as it was configured: a URL, an option, a password, a right, a missing table."""


class SessionError(SatchelError):
    """A session was used in a way that it does not allow."""


class NoSessionError(SessionError):
    """There is no session: the key function found no key in this update."""


class EmptySessionError(SessionError):
    """Nothing is stored in the session and there is no `initial` to start from."""


class SessionVersionError(SessionError):
    """The stored data is of a version that this program does not know yet. It is left as it is."""


class SessionClosedError(SessionError):
    """The session was used after its `async with` block."""


class SessionAlreadyOpenError(SessionError):
    """The task opened a session inside the block that already has it open."""


class LockTimeoutError(SessionError):
    """Another holder kept the session's lock for longer than the timeout."""


class LeaseLostError(SessionError):
    """A lease ended before its block did: somebody else may have worked on the session meanwhile."""


class FlowError(SessionError):
    """A step, of a flow, that cannot be taken as it was asked for."""


class NoTargetError(FlowError):
    """A step names no state to go to: no argument, a state without a flow to be in, no way back."""


class UnknownStateError(FlowError):
    """The flow map has no such flow or state. Where it was read from a session or a job, that is left as it is."""


class StepLoopError(FlowError):
    """A turn took more steps than it may: its states step to each other, round and round."""
