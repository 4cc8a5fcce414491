"""Satchel sessions in S3, or in anything that speaks its protocol."""

from satchel_s3.storage import S3Storage

__all__ = ["S3Storage"]
