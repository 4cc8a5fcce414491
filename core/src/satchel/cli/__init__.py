"""The command line, `satchel`: needs `pip install "satchel[cli]"`."""

import os
import sys


def main() -> None:
    """Run the command line."""
    try:
        from satchel.cli.app import app
    except ImportError as error:
        sys.exit(f'satchel: the command line needs {error.name}: pip install "satchel[cli]"')
    _open_streams()
    app()


def _open_streams() -> None:
    """Put something in the place of standard streams that are closed, as by `>&-`: Python has None there.

    To print then fails, as on a full disk. They are opened in the order of their numbers, so no database gets one.
    """
    sys.stdin = sys.stdin or os.fdopen(os.open(os.devnull, os.O_RDONLY))
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
