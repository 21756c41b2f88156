"""``lucid.compile``: from a module and its arguments to programs that are never stale."""
