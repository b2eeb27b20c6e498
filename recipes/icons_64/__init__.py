"""The recipe that makes the embedded base model `icons-64`: run it with `python -m recipes.icons_64`."""
