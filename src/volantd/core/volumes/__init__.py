"""What a volume contains, as values: trees of entries, how they are changed and merged. Pure."""
