"""Satchel sessions in files, one for each."""

from satchel_file.storage import FileStorage

__all__ = ["FileStorage"]
