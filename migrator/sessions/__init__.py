"""Opens sessions of PostgreSQL: addresses, logins, the settings of a session, and lost answers."""
