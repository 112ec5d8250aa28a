"""What the samples of one certificate prove, for each kind of question."""
