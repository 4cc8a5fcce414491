"""Copying records from any storage that lists its keys to any other, while a bot may be writing to both."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from satchel.errors import ConfigurationError
from satchel.keys import check_key
from satchel.storage import StorageAdapter, V, Versioned
from satchel.upkeep.batches import Batches, listed
from satchel.upkeep.outcomes import Progress, Summary, counting
from satchel.upkeep.placing import Placing
from satchel.wrappers.base import checked


async def copy(
    source: StorageAdapter[V],
    target: StorageAdapter[V],
    *,
    prefix: str = "",
    to_prefix: str | None = None,
    overwrite: bool = False,
    prune: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Copy every record of `source` to `target`, and see that it is there.

    A record is created only where there is none, so what a bot has written to `target` meanwhile stays. What is there
    already is compared, not written again: an interrupted copy is finished by doing it again. Each copy is read back,
    and compared with `source` as it is by then; one that changed there meanwhile is copied again, and one that was
    deleted there is taken back, as long as nobody else has written to it in `target`. That holds in whatever order a
    bot behind `satchel.wrappers.Mirrored(source, target)` writes.

    Values pass through each storage's own codec, and with them what sessions keep beside their data. Lifetimes are the
    target's, and begin with the copy. Any number of records takes a bounded memory, as far as the listing does.

    Args:
        source: a storage that can list its keys. Nothing is written to it.
        target: another one.
        prefix: only keys that start with it.
        to_prefix: what takes its place in `target`; None leaves keys as they are.
        overwrite: write over what differs in `target`, at the version that was compared.
        prune: delete what, under the prefix, only `target` has.
        progress: is told what became of each record.

    Returns:
        how many records were copied, were there already, differ, failed, or were gone when they were looked at.

    Raises:
        ConfigurationError: `source` cannot list its keys; `target` cannot create a record only where there is none, or
            not list what is to be pruned; or a copy within one storage would go on for ever.
        StorageUnavailableError: one of the two is away. Do it again to go on.
    """
    keys, goal = listed(checked(source)), checked(target)
    starts = prefix if to_prefix is None else to_prefix
    for start in (prefix, starts):
        if start:
            check_key(start)
    if not overwrite and not isinstance(goal, Versioned):
        raise ConfigurationError(f"{target!r} has no versions, so only overwrite=True can write to it")
    if starts != prefix and starts.startswith(prefix) and _are_one(source, target):
        raise ConfigurationError(f"{target!r} would be copied into itself for ever: it lists what is copied")
    extra = listed(goal) if prune else None
    summary, batches = Summary(), Batches()
    placing = Placing(goal, batches, counting(summary, progress), prefix, starts, overwrite=overwrite)
    look = partial(batches.read, source)

    async def place(batch: Sequence[str]) -> None:
        await placing.place(batch, look)

    async def trim(batch: Sequence[str]) -> None:
        await placing.prune(batch, look)

    await batches.each(keys.keys(prefix), place)
    if extra is not None:
        await batches.each(extra.keys(starts), trim)
    return summary


def _are_one(source: StorageAdapter[Any], target: StorageAdapter[Any]) -> bool:
    """Tell whether both are the same namespace of one backend, as far as they say."""
    if source is target:
        return True
    mine, other = ((getattr(one, "where", None), getattr(one, "namespace", None)) for one in (source, target))
    return mine == other and None not in mine and not getattr(source, "local", False)
