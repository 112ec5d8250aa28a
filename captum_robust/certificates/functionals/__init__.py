"""What bounds on a map say about overlaps, ranks, pixels, regions and angles."""
