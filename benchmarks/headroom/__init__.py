"""How much an adapter trained alone from the base learns: the sweep behind the default training options."""
