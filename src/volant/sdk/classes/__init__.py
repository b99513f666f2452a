"""Classes with state: their marks, parameters, instances, and handles on pools of them."""
