"""The training engine: step plan, loop, state."""
