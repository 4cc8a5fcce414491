"""Satchel sessions in Memcached."""

from satchel_memcached.storage import MemcachedStorage

__all__ = ["MemcachedStorage"]
