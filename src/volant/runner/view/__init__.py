"""What templates and containers see as their root directory."""
