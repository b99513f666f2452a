"""What clients do with the files of a sandbox, done inside of it."""
