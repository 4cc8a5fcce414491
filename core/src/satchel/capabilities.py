"""What a storage can do beyond reading, writing and deleting, as one record."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a storage declares of itself; the conformance suite holds it to every field.

    Attributes:
        versioned: writes can be conditional on a version (`Versioned`).
        conditional_delete: deletes can be, too.
        expiring: records can have a lifetime (`Expiring`).
        ttl_resolution: the step in which lifetimes are enforced on read; None where nothing expires.
        listing: keys can be enumerated (`Listing`).
        batch: several records take one round trip (`Batch`).
        atomic_batch: a batch is written wholly or not at all, for every reader.
        transactional: several records can be changed at their versions, all of them or none (`Transactional`).
        versioned_batch: several records can be changed at their versions, each by itself (`VersionedBatch`).
        durable: an acknowledged write survives a crash of the writer and of the server.
        read_your_writes: a read after an acknowledged write sees it, from any client.
        max_key_bytes: the longest key, in UTF-8 bytes.
        max_value_bytes: the largest encoded value in bytes; None where only memory or disk limits it.
    """

    versioned: bool = False
    conditional_delete: bool = False
    expiring: bool = False
    ttl_resolution: timedelta | None = None
    listing: bool = False
    batch: bool = False
    atomic_batch: bool = False
    transactional: bool = False
    versioned_batch: bool = False
    durable: bool = False
    read_your_writes: bool = True
    max_key_bytes: int = 512
    max_value_bytes: int | None = None
