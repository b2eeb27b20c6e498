"""LoRA files: what a file's header holds, how tools name layers, and how a chain becomes one file. Needs numpy only."""
