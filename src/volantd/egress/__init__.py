"""The only way out of sandboxes that have a policy: who may be reached, and bytes relayed there."""
