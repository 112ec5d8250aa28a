"""What is asked for: options, plan, methods, errors and exit codes."""
