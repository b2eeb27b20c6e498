"""LoRA factors and accumulated updates: plain tensors that know no database, no HTTP and no model family."""
