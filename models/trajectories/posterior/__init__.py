"""The posterior: priors, draws, summaries that need no names of classes, checks, predictions, sensitivity.

May import: model, reading, likelihood, fitting, tables, uncertainty.
"""
