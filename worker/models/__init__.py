"""Base models: loading, families, and the device and dtype policy."""
