"""``python -m migrator``: the same as the console command."""

import sys

from migrator.cli import main

sys.exit(main())
