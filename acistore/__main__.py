"""`python -m acistore`: the same as the command `acistore`."""

import sys

from acistore.cli import main

sys.exit(main())
