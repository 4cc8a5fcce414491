"""What an administrator sets up: the rights of a bot, and a rule that removes what has ended."""

import json
from datetime import timedelta
from typing import Any


def policy(bucket: str, prefix: str, ttl: timedelta | None) -> str:
    """Return the policy of IAM, and with a ttl the lifecycle configuration, as JSON.

    Args:
        bucket: its name, or the ARN of an access point.
        prefix: what the keys of all objects start with.
        ttl: the lifetime of a record.
    """
    is_point = bucket.startswith("arn:")
    resource = bucket if is_point else f"arn:aws:s3:::{bucket}"
    allowed = [
        {
            "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            "Resource": f"{resource}/{'object/' if is_point else ''}{prefix}*",
        },
        # Also for reading: without it, what is not there is answered with 403.
        {"Action": ["s3:ListBucket"], "Resource": resource},
    ]
    statements = [{"Effect": "Allow", **statement} for statement in allowed]
    found: dict[str, Any] = {"Policy": {"Version": "2012-10-17", "Statement": statements}}
    if ttl is not None:
        # Writes and touches make an object anew, so its age is the time since the last.
        days = -(ttl // -timedelta(days=1)) + 1
        rule = {"ID": "satchel", "Status": "Enabled", "Filter": {"Prefix": prefix}, "Expiration": {"Days": days}}
        found["LifecycleConfiguration"] = {"Rules": [rule]}
    return json.dumps(found, indent=2) + "\n"
