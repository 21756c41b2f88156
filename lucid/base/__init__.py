"""What every module may use: change counters, checks of arguments, lazy modules, the collector's pause."""
