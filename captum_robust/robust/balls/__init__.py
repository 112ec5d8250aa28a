"""Where an attack may go, one norm per file."""
