"""What moving the noise can do to a mean, from more than its value."""
