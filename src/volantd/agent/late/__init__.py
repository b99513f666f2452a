"""What functions import late, and zygotes that have imported it before they fork."""
