"""Reading: frames of users as arrays, and the settings and data that are refused.

May import: model.
"""
