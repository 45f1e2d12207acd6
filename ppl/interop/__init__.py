"""Interoperation: models and samplers of other libraries."""
