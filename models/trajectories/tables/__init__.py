"""Tables: a fit in frames of pandas and as text."""
