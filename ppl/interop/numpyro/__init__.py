"""NumPyro: its models, unchanged, as programs."""
