"""Workers, queues and threads. This package knows nothing of databases."""
