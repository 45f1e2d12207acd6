"""Rolling: statements that repeat in a Python loop become a loop of the form."""
