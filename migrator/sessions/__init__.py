"""The ways into PostgreSQL: addresses, logins, settings of a session, and answers that don't come."""
