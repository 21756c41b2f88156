"""Graphs outside memory: text, ``.lucid`` files, pictures."""
