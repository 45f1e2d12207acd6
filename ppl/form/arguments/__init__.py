"""Arguments: what a program is called with: names, data, constants and keys of random numbers."""
