"""What a model's outputs mean: classes, several labels, numbers, or what a function says."""
