"""Code that the lowerings of several ops share."""
