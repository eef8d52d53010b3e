"""The run directory, files, the command line, and the errors of a user."""
