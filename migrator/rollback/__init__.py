"""Makes a SQLite file of the target's present rows, in the form in which the application stored them before."""
