"""The command line, `satchel-conformance`."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from satchel_conformance.cli.app import app  # not at once: it brings in rich, which pytest's plugin needs not
    except KeyboardInterrupt:
        sys.exit(130)  # as the command itself would
    app()
