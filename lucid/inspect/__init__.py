"""What a user asks of a compiled model: where its nodes come from, and what they cost."""
