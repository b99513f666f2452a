"""What happens in a zygote before the first fork: sources, snapshots, and what forbids forking."""
