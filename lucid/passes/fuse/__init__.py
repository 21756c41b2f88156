"""Fusion passes, which replace several ops by one."""
