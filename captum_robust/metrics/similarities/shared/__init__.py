"""What several similarities share: prepared maps, rows of numbers, ranks."""
