"""The model: curves of classes, parameters and the free vector behind them, persons as arrays, units, reports.

May import: no other folder.
"""
