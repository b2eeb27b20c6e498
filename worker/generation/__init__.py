"""Pictures from a version of a lineage, and the files that they are kept in."""
