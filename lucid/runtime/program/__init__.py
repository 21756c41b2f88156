"""The program that a schedule becomes: its statements, its memory, its source, and the object that runs it."""
