"""Which options of each strategy keep most: the search behind the strategies' defaults."""
