"""What hypothesis draws for each op: attributes, and arrays that fit them. One table for each family, ``DRAWS``."""
