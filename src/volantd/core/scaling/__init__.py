"""Starting and retiring containers: the autoscaler's hands, and fair sharing of machines."""
