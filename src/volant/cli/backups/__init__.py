"""`volant server backup` and `restore`, which have a process of the daemon's side do it."""
