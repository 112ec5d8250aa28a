"""From samples to bounds that hold with a stated probability."""
