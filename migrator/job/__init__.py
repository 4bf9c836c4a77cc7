"""The commands of the program, each a module with its steps in order, and the modules that the commands share."""
