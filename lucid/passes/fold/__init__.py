"""Passes that compute ahead of the run what does not depend on its inputs."""
