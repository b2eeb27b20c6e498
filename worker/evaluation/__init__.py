"""How well versions keep their concepts: encoders, metrics, the protocol, plots."""
