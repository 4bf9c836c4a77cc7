"""The migrations of the museum, as ``makemigrations`` writes them."""
