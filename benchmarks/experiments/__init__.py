"""What experiments share: drawing concepts from a split, learning them, drawing pictures, scoring, keeping results."""
