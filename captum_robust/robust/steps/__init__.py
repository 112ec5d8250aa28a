"""How an attack moves, one step rule per file."""
