"""Workers, queues and threads. Knows no words of databases."""
