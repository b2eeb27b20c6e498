"""What each kind of job does, one file or folder a kind, and what several of them share."""
