"""Queues: items in the database, who waits for them, and what is handed over to whom."""
