"""The words and rules of Palimpsest: stdlib and pydantic only, known to the front end and the worker alike."""
