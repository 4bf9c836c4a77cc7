"""The stages of the job, each a module with one function of the same name. ``job`` calls them in order."""
