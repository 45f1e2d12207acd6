"""Lint: findings about a program before it runs."""
