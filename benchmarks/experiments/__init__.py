"""What experiments on concepts share: drawing concepts from a split, learning them, drawing pictures, scoring, results."""
