"""What a handle on a sandbox can do besides running commands in it, one class for each subject."""
