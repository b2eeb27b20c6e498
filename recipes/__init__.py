"""How the embedded models were made: run on demand, never by the service."""
