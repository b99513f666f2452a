"""What outlives the daemon, in a database: SQLAlchemy Core over SQLite, with alembic's migrations.

Importing SQLAlchemy takes a tenth of a second, so nothing here is imported before there is a
database, or something to be put into one.
"""
