"""The quality report of the embedded base: what it draws, beside real pictures measured in the same way."""
