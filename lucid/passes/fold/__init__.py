"""Passes that precompute what does not depend on the inputs."""
