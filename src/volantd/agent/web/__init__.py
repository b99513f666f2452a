"""What this machine gives to containers that answer to the web."""
