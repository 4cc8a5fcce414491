"""Satchel sessions in DynamoDB."""

from satchel_dynamodb.storage import DynamoDBStorage

__all__ = ["DynamoDBStorage"]
