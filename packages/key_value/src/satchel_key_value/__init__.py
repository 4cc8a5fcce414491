"""Satchel and py-key-value, both ways: `SatchelStore` is ours as theirs, `KeyValueStorage` theirs as ours."""

from satchel_key_value.storage import KeyValueStorage
from satchel_key_value.store import SatchelStore

__all__ = ["KeyValueStorage", "SatchelStore"]
