"""`python -m conformance.matrix`."""

import sys

from conformance.matrix.matrix import main

if __name__ == "__main__":
    sys.exit(main())
