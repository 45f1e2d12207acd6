"""Back ends: from a form to numbers, through XLA or by enumeration."""
