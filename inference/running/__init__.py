"""Running: what happens between a plan and its result."""
