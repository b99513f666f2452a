"""What SQLite and PostgreSQL need of their own: how to connect, and what their errors mean."""
