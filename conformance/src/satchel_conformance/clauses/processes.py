"""R7, R9 and R13: what holds when several processes work on one key, and when one of them, or the server, is killed."""

import asyncio
import signal
from asyncio.subprocess import Process
from itertools import count

from satchel import StorageUnavailableError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_same, shown
from satchel_conformance.forking import Forked
from satchel_conformance.registry import clause


async def _done(process: Process | Forked) -> str:
    """Wait until processes have ended, and return what they printed."""
    out, errors = await process.communicate()
    last = errors.decode(errors="replace").strip().rpartition("\n")[2]
    expect(process.returncode == 0, "each process ends well", f"{process.returncode} failed: {last}")
    return out.decode()


@clause("R7-increments-of-processes", "url", "shared", "versioned")
async def increments(bench: Bench) -> None:
    """Versioned increments of one number, from several processes, all count."""
    processes, each = bench.profile.times(4), bench.profile.times(36)
    await _done(await bench.start("increment", each, processes=processes))
    expect_same(await bench.storage.read("counter"), processes * each, "the sum of all increments")


@clause("R7-one-creating-process", "url", "shared", "versioned")
async def creators(bench: Bench) -> None:
    """Of processes that create the same keys, exactly one wins each key."""
    processes, keys = bench.profile.times(4), bench.profile.times(36)
    won = await _done(await bench.start("create", keys, processes=processes))
    winners = sorted(won.split())
    expect(winners == sorted(map(str, range(keys))), f"each of {keys} keys is won once", f"won: {shown(winners)}")


@clause("R9-first-writes-of-processes", "url", "shared")
async def first_writes(bench: Bench) -> None:
    """Concurrent first writes of several processes leave one record, that of one of them."""
    processes = bench.profile.times(4)
    await _done(await bench.start("write", processes=processes))
    value = await bench.storage.read("first")
    expect(
        value in [{"writer": str(writer)} for writer in range(processes)], "one writer's value is there", shown(value)
    )
    if bench.capabilities.listing:
        listed = [key async for key in bench.storage.keys("first")]
        expect_same(listed, ["first"], "keys() after concurrent first writes")


@clause("R14-setup-of-processes", "url", "shared", opened=False)
async def setups(bench: Bench) -> None:
    """Several processes may set up the same storage at once."""
    await _done(await bench.start("write", processes=bench.profile.times(4)))


@clause("R9-killed-writer", "url", "shared", "read_your_writes")
async def killed(bench: Bench) -> None:
    """When a writing process is killed, every write that it had acknowledged is there, and none is torn."""
    process = await bench.start("forever", processes=1)
    assert process.stdout is not None
    acknowledged, enough = 0, bench.profile.times(60)
    while acknowledged < enough and (line := await process.stdout.readline()):
        acknowledged = int(line)
    expect(acknowledged >= enough, f"the writer acknowledges {enough} writes", f"it ended after {acknowledged}")
    process.send_signal(signal.SIGKILL)
    rest = (await process.stdout.read()).split()
    await process.wait()
    acknowledged = int(rest[-1]) if rest else acknowledged
    for number in range(1, acknowledged + 1):
        expect_same(await bench.storage.read(f"n:{number}"), number, f"read of acknowledged write {number}")
    last = await bench.storage.read("last")
    whole = isinstance(last, dict) and last["number"] >= acknowledged and last["pad"] == str(last["number"]) * 2000
    expect(whole, "the last record is whole, and not older than what was acknowledged", shown(last))


@clause("R9-killed-server", "durable", "kill", "shared", "read_your_writes")
async def killed_server(bench: Bench) -> None:
    """When the server is killed under load, every write that it had acknowledged is there, and none is torn."""
    acknowledged: list[tuple[int, int]] = []
    over = False

    async def work(writer: int) -> None:
        """Write a record for each number, and over one that tells a torn write from a whole one."""
        for number in count(1):
            try:
                await bench.storage.write(f"{writer}:{number}", number)
                acknowledged.append((writer, number))
                await bench.storage.write(f"{writer}:last", {"number": number, "pad": str(number) * 500})
            except StorageUnavailableError:
                pass
            if over:
                break
            await asyncio.sleep(0.005)

    async def go_on(writes: int) -> None:
        until = len(acknowledged) + writes
        while len(acknowledged) < until:
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as writers:
        for writer in range(8):
            writers.create_task(work(writer))
        for _ in range(2):
            await go_on(100)
            await bench.kill_server()
        await go_on(24)  # more than the eight answers that may have been on their way when the server died
        over = True
    storage = await bench.another()
    for writer, number in acknowledged:
        expect_same(await storage.read(f"{writer}:{number}"), number, f"read of acknowledged {writer}:{number}")
    for writer in {writer for writer, _ in acknowledged}:
        last = await storage.read(f"{writer}:last")
        whole = isinstance(last, dict) and last["pad"] == str(last["number"]) * 500
        expect(whole, "a record that was written while the server was killed is old or new", shown(last))
