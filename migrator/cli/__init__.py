"""The command line: arguments in, exit code out. The only place that catches errors."""
