"""The attribution method behind a smoothed one: its net, its guards, its graph."""
