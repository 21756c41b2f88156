"""Training in several processes, which ``mpiexec`` starts: run by ``make mpi``."""
