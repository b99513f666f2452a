"""Images: how the file systems that containers see come to be."""
