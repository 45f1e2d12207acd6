"""Inspection: what people read about a program: findings, text and pictures."""
