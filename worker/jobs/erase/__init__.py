"""An erase job: a family of versions made again without a concept."""
