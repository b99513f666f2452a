"""What several commands share: asking the daemon, tables and JSON, logs, terminals."""
