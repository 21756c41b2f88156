"""Who does the work of a run: threads of this process, processes beside it, and BLAS kept out of their way."""
