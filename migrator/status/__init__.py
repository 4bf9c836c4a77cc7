"""Tells from the ledger alone how far a migration is, and what an operator has to do now."""
