"""What a command found, as data, and the forms in which it is shown: console, JSON, HTML, JUnit."""
