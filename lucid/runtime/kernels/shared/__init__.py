"""What the lowerings of several ops share."""
