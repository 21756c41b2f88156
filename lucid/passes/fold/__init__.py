"""Folding passes, which precompute what does not depend on the inputs."""
