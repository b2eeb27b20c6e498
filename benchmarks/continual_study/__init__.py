"""Who forgets least: the strategies on streams of concepts, paired run by run, with bounds and intervals."""
