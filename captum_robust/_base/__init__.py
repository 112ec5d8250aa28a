"""What every room stands on: checks, vectors, streams of random numbers, Captum's private names."""
