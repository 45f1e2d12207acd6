"""Local moves: what changes where one element of a choice does."""
