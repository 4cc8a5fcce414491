"""Another process: consumes the OAuth states that it is given on standard input, and prints those that were valid."""

import sys

from satchel.blocking import open_storage
from satchel_slack import SatchelOAuthStateStore

url, namespace = sys.argv[1:]
with open_storage(url, namespace=namespace) as storage:
    store = SatchelOAuthStateStore(storage)
    print("ready", flush=True)  # noqa: T201
    for state in sys.stdin.readline().split():
        if store.consume(state):
            sys.stdout.write(f"{state}\n")
