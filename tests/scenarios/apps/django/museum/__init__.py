"""A small Django application: the things in a museum, with every kind of field that Django has."""
