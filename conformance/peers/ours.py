"""Our own storages, for the same run."""

import atexit
import tempfile
from typing import Any, Final

from conformance.peers.page import Peer
from satchel import MemoryStorage
from satchel_conformance.servers.redis import REDIS

_folder = tempfile.TemporaryDirectory(prefix="satchel-scoreboard-")
atexit.register(_folder.cleanup)

PEERS: Final = (
    Peer("Satchel MemoryStorage", "satchel", MemoryStorage[Any], shared=False),
    Peer("Satchel SQLiteStorage", "satchel-sqlite", f"sqlite:///{_folder.name}/sessions.db"),
    Peer("Satchel RedisStorage", "satchel-redis", "{server}", REDIS),
)
