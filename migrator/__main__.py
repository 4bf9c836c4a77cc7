"""Start the command line: ``python -m migrator``."""

from migrator.cli.startup import main

if __name__ == "__main__":
    main()
