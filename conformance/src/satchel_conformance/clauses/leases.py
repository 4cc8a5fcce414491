"""R7: the lease lock, which any versioned storage can carry."""

import asyncio
import time
from datetime import timedelta
from typing import Final

from satchel import LeaseLock, LeaseLostError, LockTimeoutError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import ClauseFailure, expect, expect_error, expect_same
from satchel_conformance.registry import clause

_SHORT: Final = timedelta(milliseconds=150)


@clause("R7-lease-excludes", "conditional_delete", "shared")
async def excludes(bench: Bench) -> None:
    """Of those who want a lease, on storages of their own, one at a time has it; when all are done it is gone."""
    locks = [LeaseLock(bench.storage), *[LeaseLock(await bench.another()) for _ in range(3)]]
    inside = most = 0

    async def work(lock: LeaseLock) -> None:
        nonlocal inside, most
        for _ in range(3):
            async with lock.hold("key"):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1

    await asyncio.gather(*map(work, locks))
    expect_same(most, 1, "the most holders at once")
    expect_same(await bench.storage.read("lease:key"), None, "read of the lease, once all are done,")


@clause("R7-lease-is-renewed", "conditional_delete", "shared")
async def renewed(bench: Bench) -> None:
    """A holder keeps its lease for longer than its duration; others wait, or give up."""
    other = await bench.another()
    for duration in (_SHORT, _SHORT * 5, _SHORT * 25):
        try:
            waiter = LeaseLock(other, duration=duration, timeout=duration * 2)
            async with LeaseLock(bench.storage, duration=duration).hold("key") as hold:
                with expect_error(LockTimeoutError, "waiting for a lease that is renewed"):
                    async with waiter.hold("key"):
                        pass
                hold.ensure()
        except (ClauseFailure, LeaseLostError):
            if duration > _SHORT * 5:  # else the machine may have been too busy to renew in time
                raise
        else:
            return


@clause("R7-lease-ends", "conditional_delete", "shared")
async def ends(bench: Bench) -> None:
    """The lease of a dead holder is taken over once its duration is over, not before; nobody releases another's."""
    sleeper = LeaseLock(await bench.another(), duration=timedelta(hours=1)).hold("key")
    await sleeper.__aenter__()
    await bench.storage.write("lease:key", {"owner": "dead", "seconds": _SHORT.total_seconds(), "renewals": 0})
    start = time.monotonic()
    async with LeaseLock(bench.storage).hold("key") as taken:
        waited = time.monotonic() - start
        expect(waited >= _SHORT.total_seconds(), "nobody enters before the lease is over", f"{waited:.3f} s")
        taken.ensure()
        await sleeper.__aexit__(None, None, None)  # releases nothing: the lease is another's by now
        expect(await bench.storage.read("lease:key") is not None, "the new holder's lease stays", "it was released")


@clause("R7-lease-fences", "conditional_delete", "shared")
async def fences(bench: Bench) -> None:
    """Each holder's fencing token is greater than the last one's, be that released or dead."""
    tokens = []
    for _ in range(3):
        async with LeaseLock(bench.storage).hold("key") as lease:
            tokens.append(lease.token)
    dead = {"owner": "dead", "token": 2**62, "seconds": _SHORT.total_seconds(), "renewals": 0}
    await bench.storage.write("lease:key", dead)
    tokens.append(2**62)
    async with LeaseLock(await bench.another()).hold("key") as lease:
        tokens.append(lease.token)
    expect_same(tokens, sorted(set(tokens)), "the tokens, in the order in which they were given,")
