"""Records that know nothing of the others: configurations, the ledger, sets of indexes."""
