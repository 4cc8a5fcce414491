"""Erasing one person's data: every record whose key names them, in a storage that lists its keys."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from satchel.errors import CorruptValueError
from satchel.keys import STEP, key_parts, session_key
from satchel.settling import together
from satchel.storage import Batch, StorageAdapter
from satchel.upkeep.batches import listed
from satchel.wrappers.base import checked, closing

_BATCH = 100


@dataclass
class Named:
    """The keys that name a person.

    Attributes:
        user: those with the parts `user` and then the person's id, as `user:7` and `telegram:chat:42:user:7`.
        elsewhere: those that have the id as another part, as `chat:7`. That may be the person, as in a private chat of
            Telegram's, whose id is the user's, or may have nothing to do with them.
    """

    user: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


async def find_user(storage: StorageAdapter[Any], user: str | int) -> Named:
    """Return the keys of `storage` that name a user.

    Parts are those of `satchel.session_key`, so `user:7` is not `user:77`, and an id with colons in it is found, too.
    All keys are gone through. No value is read but those of steps that flows have scheduled, whose keys are numbers and
    whose records hold the key of the session that is to take them.

    Raises:
        ConfigurationError: the storage cannot list its keys.
        InvalidKeyError: the id cannot be a part of a key.
    """
    session_key(user)
    wanted, found = str(user), Named()
    async with closing(listed(checked(storage)).keys()) as keys:
        async for key in keys:
            parts = key_parts(key)
            if STEP.search(key) is not None:
                with suppress(CorruptValueError):  # which nobody can tell anything of
                    parts += _session_of(await storage.read(key))
            if any(pair == ("user", wanted) for pair in pairwise(parts)):
                found.user.append(key)
            elif wanted in parts:
                found.elsewhere.append(key)
    return found


async def erase(storage: StorageAdapter[Any], keys: Collection[str]) -> None:
    """Delete records, whatever is in them. `find_user` tells afterwards whether a bot has written one again."""
    target, wanted = checked(storage), list(keys)
    for start in range(0, len(wanted), _BATCH):
        some = wanted[start : start + _BATCH]
        if isinstance(target, Batch):
            await target.delete_many(some)
        else:
            await together(target.delete(key) for key in some)


def _session_of(step: Any) -> tuple[str, ...]:
    """Return the parts of the key of the session that is to take a step."""
    session = step.get("session") if isinstance(step, dict) else None
    return tuple(key_parts(session)) if isinstance(session, str) else ()
