"""The stages of the job, one public function of the file's name in each. None imports another; ``job`` calls them."""
