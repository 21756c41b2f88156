"""The program that a plan becomes: its statements, its source, and the object that runs it."""
