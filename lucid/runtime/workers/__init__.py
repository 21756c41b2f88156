"""Workers, which share the work of a run: threads, or worker processes; and control of BLAS's own threads."""
