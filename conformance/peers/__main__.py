"""`python -m conformance.peers`."""

import sys

from conformance.peers.scoreboard import main

if __name__ == "__main__":
    sys.exit(main())
