"""Data: what observations may be, and which of them are missing."""
