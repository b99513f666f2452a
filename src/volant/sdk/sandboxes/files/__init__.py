"""`sandbox.filesystem`: the files of a sandbox, read and written from outside."""
