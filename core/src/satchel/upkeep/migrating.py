"""Migrating all sessions of a storage at once, rather than each when it is next used."""

from collections.abc import Mapping, Sequence

from satchel.errors import ConfigurationError, ReadOnlyError, SatchelError
from satchel.keys import LEASE, STEP
from satchel.lifetimes import Migration
from satchel.sessions import Sessions
from satchel.storage import StorageAdapter, V
from satchel.upkeep.batches import ENDS_READING, Batches, listed
from satchel.upkeep.outcomes import Outcome, Progress, Result, Summary, counting
from satchel.wrappers.base import checked


async def migrate(
    storage: StorageAdapter[V],
    migrations: Mapping[int, Migration],
    *,
    version: int | None = None,
    prefix: str = "",
    progress: Progress | None = None,
) -> Summary:
    """Store every session in today's layout, as `Sessions.migrate` does one.

    Bots may run meanwhile: a session that changes is looked at again. What is interrupted is finished by doing it
    again; sessions that are in today's layout already are only read. Leases, and steps that flows have scheduled, are
    no sessions: they stay as they are.

    Args:
        storage: one that can list its keys.
        migrations: as `Sessions` takes them.
        version: as `Sessions` takes it.
        prefix: only keys that start with it.
        progress: is told what became of each session.

    Returns:
        how many were migrated (done), needed nothing (same), or could not be (failed), and stay as they were.

    Raises:
        ConfigurationError: the storage cannot list its keys, or a migration is none.
        StorageUnavailableError: it is away. Do it again to go on.
    """
    keys = listed(checked(storage))
    if not migrations and version is None:
        raise ConfigurationError("there is nothing to migrate to: no migration, and no version")
    sessions = Sessions(storage, migrations=migrations, version=version)
    summary, batches = Summary(), Batches()
    tell = counting(summary, progress)

    async def one(key: str) -> None:
        if key.startswith(LEASE) or STEP.search(key) is not None:
            tell(Outcome(key, Result.SAME))
            return
        try:
            changed = await sessions.migrate(key)
        except (*ENDS_READING, ReadOnlyError):
            raise
        except SatchelError as error:
            tell(Outcome(key, Result.FAILED, str(error)))
        except Exception as error:  # noqa: BLE001  # a migration's; its text may hold a value
            tell(Outcome(key, Result.FAILED, f"its migration raised {type(error).__name__}"))
        else:
            tell(Outcome(key, Result.DONE if changed else Result.SAME))

    async def some(batch: Sequence[str]) -> None:
        await batches.singly(one, batch)

    await batches.each(keys.keys(prefix), some)
    return summary
