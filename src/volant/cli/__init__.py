"""The `volant` command. Every module is imported on use: `volant run` starts in milliseconds."""
