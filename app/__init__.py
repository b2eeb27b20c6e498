"""The web front end of Palimpsest. Nothing in here imports torch, diffusers or `worker`."""
