"""Fusion passes, which make one op of several."""
