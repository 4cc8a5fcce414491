"""Satchel sessions in Firestore."""

from satchel_firestore.storage import FirestoreStorage

__all__ = ["FirestoreStorage"]
