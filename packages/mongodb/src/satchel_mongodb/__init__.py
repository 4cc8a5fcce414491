"""Satchel sessions in MongoDB."""

from satchel_mongodb.storage import MongoDBStorage

__all__ = ["MongoDBStorage"]
