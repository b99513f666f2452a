"""Migrations of the database; alembic runs them one after the other."""
