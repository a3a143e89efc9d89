"""``python cli.py <verb> ...`` from a checkout; an installation has the same as ``vedute``."""

import sys

from vedute.cli import main

if __name__ == "__main__":
    sys.exit(main())
