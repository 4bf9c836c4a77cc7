"""The stages of the job: one public function a file, of its name. None imports another; ``job.py`` calls them."""
