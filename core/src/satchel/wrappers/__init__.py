"""Wrappers: storages that stand before another storage, and add one thing to it.

    storage = Telemetry(Retrying(Cached(open_storage("redis://localhost"))))

Each has the protocols and the codec of the storage that it wraps, and its capabilities unless it says otherwise. It
owns what it wraps: setting up, closing and `async with` go through.
"""

from satchel.wrappers.base import Wrapper
from satchel.wrappers.cached import Cached
from satchel.wrappers.fallback import Fallback
from satchel.wrappers.hidden import HiddenKeys
from satchel.wrappers.mirrored import Mirrored
from satchel.wrappers.readonly import ReadOnly
from satchel.wrappers.retrying import Retrying
from satchel.wrappers.telemetry import Telemetry

__all__ = ["Cached", "Fallback", "HiddenKeys", "Mirrored", "ReadOnly", "Retrying", "Telemetry", "Wrapper"]
