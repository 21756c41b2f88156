"""What every package may use: change counters, argument checks, lazy modules, control of garbage collection."""
