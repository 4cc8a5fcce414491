"""`python -m conformance.chaos`."""

import sys

from conformance.chaos.run import main

if __name__ == "__main__":
    sys.exit(main())
