"""Pools as the hub knows them: what options mean to the core, and pools beside a function's own."""
