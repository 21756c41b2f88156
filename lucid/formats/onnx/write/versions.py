"""The versions of ONNX's operators that files are written with."""

OLDEST, USUAL, NEWEST = 17, 20, 24
"""Those that may be asked for, and that which is where nothing is said."""
