"""What is left when a storage is closed or a call is given up, and use from other loops and threads."""

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from satchel import StorageClosedError, StorageUnavailableError
from satchel_conformance.proxy import BlackHole, Proxy, address_in
from satchel_s3 import S3Storage


def sockets() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it was the folder's own
            found.add(str(link.readlink()))
    return {name for name in found if name.startswith("socket:")}


async def test_closing_leaves_no_thread_and_no_connection(ceph_url: str, namespace: str) -> None:
    threads, before = set(threading.enumerate()), sockets()
    async with S3Storage[Any].from_url(ceph_url, namespace=namespace, max_connections=4) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(20)))
        started = set(threading.enumerate()) - threads
        assert len(started) == 4
        assert all(thread.name.startswith("satchel-s3") for thread in started)
        assert 1 <= len(sockets() - before) <= 4
        await asyncio.gather(*(storage.delete(f"chat:{number}") for number in range(20)))
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)
    assert not sockets() - before
    with pytest.raises(StorageClosedError):
        await storage.read("chat:1")


async def test_threads_that_wait_for_a_silent_server_are_free_again_in_time(ceph_url: str, namespace: str) -> None:
    with Proxy(*address_in(ceph_url)) as proxy:
        url = proxy.url(ceph_url)
        options: dict[str, Any] = {"namespace": namespace, "max_connections": 2}
        async with S3Storage[Any].from_url(url, **options, timeout=timedelta(seconds=3)) as storage:
            await storage.write("chat:1", 1)
            proxy.arm(BlackHole())
            calls = [storage.read("chat:1") for _ in range(20)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(result, StorageUnavailableError) for result in results)
            proxy.heal()
            async with asyncio.timeout(30):
                while True:
                    try:
                        assert await storage.read("chat:1") == 1
                        break
                    except StorageUnavailableError:
                        continue


def test_a_storage_serves_one_loop_after_another(ceph_url: str, namespace: str) -> None:
    storage = S3Storage[Any].from_url(ceph_url, namespace=namespace)
    asyncio.run(storage.write("chat:1", 1))
    assert asyncio.run(storage.read("chat:1")) == 1
    asyncio.run(storage.aclose())
