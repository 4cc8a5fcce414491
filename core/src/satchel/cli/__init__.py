"""The command line, `satchel`: needs `pip install "satchel[cli]"`."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from satchel.cli.app import app
    except ImportError as error:
        sys.exit(f'satchel: the command line needs {error.name}: pip install "satchel[cli]"')
    app()
