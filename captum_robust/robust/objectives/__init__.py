"""What an attack maximises, one objective per file."""
