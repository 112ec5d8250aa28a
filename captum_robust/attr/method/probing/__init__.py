"""A probe of two rows: the modules that are called, the generators, and what is seen."""
