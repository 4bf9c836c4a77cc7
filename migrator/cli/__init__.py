"""The command line: it turns arguments into an exit code. Only this package catches all errors."""
