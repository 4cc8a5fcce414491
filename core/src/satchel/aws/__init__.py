"""What adapters over boto3 share: a client made and used in threads, requests that are sent once, errors in words.

Core itself never imports this package, and does not depend on boto3; the adapters that do, do.
"""

from satchel.aws.client import AWS, Backoff, place_of, take_options
from satchel.aws.errors import code_of, translate

__all__ = ["AWS", "Backoff", "code_of", "place_of", "take_options", "translate"]
