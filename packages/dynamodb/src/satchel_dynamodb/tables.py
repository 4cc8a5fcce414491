"""The table: looked at when a storage is opened, created if need be, and described for an administrator."""

import asyncio
import json
from typing import Any, Final

from botocore.exceptions import ClientError

from satchel import ConfigurationError
from satchel.aws import AWS, code_of

_KEYS: Final[dict[str, Any]] = {
    "KeySchema": [{"AttributeName": "session_key", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "session_key", "AttributeType": "S"}],
}
_MODE: Final = "PAY_PER_REQUEST"
_EXPIRY: Final[dict[str, Any]] = {"AttributeName": "remove_at", "Enabled": True}
_ACTIONS: Final = (
    "BatchGetItem", "BatchWriteItem", "ConditionCheckItem", "DeleteItem", "DescribeTable", "GetItem", "PutItem", "Scan",
    "UpdateItem",
)  # fmt: skip


async def ready(aws: AWS, table: str, where: str, *, create: bool) -> None:
    """Wait until there is a table to work with; if `create`, create it and switch on its expiry where that is missing.

    Raises:
        ConfigurationError: it has another key, or expires by another attribute.
        ClientError: it is not there, or anything else that the server says.
    """
    created = False
    while True:
        try:
            answer = await aws.call("describe_table", TableName=table, reads=True)
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException" or not create:
                raise
            if not created:
                await _create(aws, table)
            created = True  # although it may be a while before it can be seen
        else:
            if answer["Table"]["TableStatus"] != "CREATING":
                break
        await asyncio.sleep(0.05)
    found = answer["Table"]
    # What is defined beside it is for indexes of somebody else's.
    defined = [each for each in found["AttributeDefinitions"] if each in _KEYS["AttributeDefinitions"]]
    if {"KeySchema": found["KeySchema"], "AttributeDefinitions": defined} != _KEYS:
        raise ConfigurationError(f"{where} has another key than the string session_key")
    if create:
        attribute = await _expiry(aws, table) or await _switch_on_expiry(aws, table)
        if attribute != "remove_at":
            raise ConfigurationError(f"{where} expires by {attribute}, not by remove_at")


def template(table: str, rights: list[dict[str, Any]]) -> str:
    """Return a CloudFormation template of the table, and of a policy that allows what a storage does, and `rights`."""
    properties = {"TableName": table, "BillingMode": _MODE, **_KEYS, "TimeToLiveSpecification": _EXPIRY}
    statement = {
        "Effect": "Allow",
        "Action": [f"dynamodb:{action}" for action in _ACTIONS],
        "Resource": {"Fn::GetAtt": ["SatchelTable", "Arn"]},
    }
    policy = {"PolicyDocument": {"Version": "2012-10-17", "Statement": [statement, *rights]}}
    resources = {
        "SatchelTable": {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "Retain", "Properties": properties},
        "SatchelPolicy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": policy},
    }
    return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, indent=2) + "\n"


async def _create(aws: AWS, table: str) -> None:
    try:
        await aws.call("create_table", TableName=table, BillingMode=_MODE, **_KEYS)
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":  # somebody else was faster
            raise


async def _switch_on_expiry(aws: AWS, table: str) -> str:
    try:
        await aws.call("update_time_to_live", TableName=table, TimeToLiveSpecification=_EXPIRY)
    except ClientError:
        if (attribute := await _expiry(aws, table)) is None:  # else somebody else was faster
            raise
        return attribute
    return "remove_at"


async def _expiry(aws: AWS, table: str) -> str | None:
    """Return the attribute that the table's own expiry goes by, or None if that is off."""
    answer = await aws.call("describe_time_to_live", TableName=table, reads=True)
    found = answer["TimeToLiveDescription"]
    return found.get("AttributeName") if found["TimeToLiveStatus"] in ("ENABLED", "ENABLING") else None
