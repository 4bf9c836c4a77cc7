"""The report as one HTML page, without scripts and without anything from the network."""
