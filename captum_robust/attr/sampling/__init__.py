"""How a smoothed attribution samples."""
