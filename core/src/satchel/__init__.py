"""Satchel: memory for chat bots. Sessions that lose nothing, on any storage."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from satchel.codecs import JSON, Codec, typed
from satchel.errors import (
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    EmptySessionError,
    FlowError,
    InvalidKeyError,
    LeaseLostError,
    LockTimeoutError,
    NoSessionError,
    NoTargetError,
    ReadOnlyError,
    SatchelError,
    SessionAlreadyOpenError,
    SessionClosedError,
    SessionError,
    SessionVersionError,
    StepLoopError,
    StorageClosedError,
    StorageError,
    StorageUnavailableError,
    UnknownStateError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from satchel.keys import per_chat, per_user, per_user_in_chat, session_key
from satchel.storage import (
    Batch,
    Change,
    Expiring,
    Lifecycle,
    Listing,
    Record,
    Storage,
    StorageAdapter,
    Transactional,
    Versioned,
    VersionedBatch,
)

if TYPE_CHECKING:
    from satchel.adapter import ANY, EncodedStorage, Expected, Payload, StorageOptions
    from satchel.capabilities import Capabilities
    from satchel.groups import Parts, SessionGroup
    from satchel.leases import Lease, LeaseLock
    from satchel.locks import Hold, KeyedLock, Lock
    from satchel.memory import MemoryStorage
    from satchel.sessions import LazySession, Session, Sessions
    from satchel.threads import Threads
    from satchel.urls import StorageURL, open_storage

__all__ = [
    "ANY",
    "JSON",
    "Batch",
    "Capabilities",
    "Change",
    "Codec",
    "ConfigurationError",
    "ConflictError",
    "CorruptValueError",
    "EmptySessionError",
    "EncodedStorage",
    "Expected",
    "Expiring",
    "FlowError",
    "Hold",
    "InvalidKeyError",
    "KeyedLock",
    "LazySession",
    "Lease",
    "LeaseLock",
    "LeaseLostError",
    "Lifecycle",
    "Listing",
    "Lock",
    "LockTimeoutError",
    "MemoryStorage",
    "NoSessionError",
    "NoTargetError",
    "Parts",
    "Payload",
    "ReadOnlyError",
    "Record",
    "SatchelError",
    "Session",
    "SessionAlreadyOpenError",
    "SessionClosedError",
    "SessionError",
    "SessionGroup",
    "SessionVersionError",
    "Sessions",
    "StepLoopError",
    "Storage",
    "StorageAdapter",
    "StorageClosedError",
    "StorageError",
    "StorageOptions",
    "StorageURL",
    "StorageUnavailableError",
    "Threads",
    "Transactional",
    "UnknownStateError",
    "UnsupportedValueError",
    "ValueTooLargeError",
    "Versioned",
    "VersionedBatch",
    "open_storage",
    "per_chat",
    "per_user",
    "per_user_in_chat",
    "session_key",
    "typed",
]

# What needs asyncio or dataclasses is imported when it is first used: they cost more than all of Satchel.
_LATER = {
    "ANY": "adapter",
    "Capabilities": "capabilities",
    "EncodedStorage": "adapter",
    "Expected": "adapter",
    "Hold": "locks",
    "KeyedLock": "locks",
    "LazySession": "sessions",
    "Lease": "leases",
    "LeaseLock": "leases",
    "Lock": "locks",
    "MemoryStorage": "memory",
    "Parts": "groups",
    "Payload": "adapter",
    "Session": "sessions",
    "SessionGroup": "groups",
    "Sessions": "sessions",
    "StorageOptions": "adapter",
    "StorageURL": "urls",
    "Threads": "threads",
    "open_storage": "urls",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_LATER]
