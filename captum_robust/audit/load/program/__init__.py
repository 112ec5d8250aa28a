"""Models in files, read by an allow-list: nothing in a file can run code."""
