"""What an administrator sets up: the rights of a bot, and the rules that remove what has ended."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

MAX_RULES: Final = 1000  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleConfiguration.html


def policy(bucket: str, patterns: Sequence[str], starts: Sequence[str], ttl: timedelta | None) -> str:
    """Return the policy of IAM, and with a ttl the lifecycle configuration, as JSON.

    Args:
        bucket: its name, or the ARN of an access point.
        patterns: what the keys of all objects are like, those of probes too.
        starts: what the keys of sessions start with; up to 1 000.
        ttl: the lifetime of a record.
    """
    is_point = bucket.startswith("arn:")
    resource = bucket if is_point else f"arn:aws:s3:::{bucket}"
    allowed: list[dict[str, Any]] = [
        {
            "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            "Resource": [f"{resource}/{'object/' if is_point else ''}{pattern}" for pattern in patterns],
        },
        # Also for reading: without it, what is not there is answered with 403, as it would be under a condition for
        # s3:prefix, which a GET has not.
        {"Action": ["s3:ListBucket"], "Resource": resource},
    ]
    statements = [{"Effect": "Allow", **statement} for statement in allowed]
    found: dict[str, Any] = {"Policy": {"Version": "2012-10-17", "Statement": statements}}
    if ttl is not None:
        # Writes and touches make an object anew, so its age is the time since the last.
        days = -(ttl // -timedelta(days=1)) + 1
        # Without IDs: they have to differ within a bucket, and S3 makes them up.
        rule = {"Status": "Enabled", "Expiration": {"Days": days}}
        found["LifecycleConfiguration"] = {"Rules": [{"Filter": {"Prefix": start}, **rule} for start in starts]}
    return json.dumps(found, indent=2) + "\n"
