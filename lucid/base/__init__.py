"""What every module may use: counts of changes, checks of arguments, lazy modules, the pause of garbage collection."""
