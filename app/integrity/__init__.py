"""Whether database and bucket keep what is promised of them; after a crash, a restore, or any time."""
