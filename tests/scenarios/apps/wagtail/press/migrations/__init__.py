"""The migrations of the press, as ``makemigrations`` writes them."""
