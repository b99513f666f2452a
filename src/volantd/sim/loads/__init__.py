"""The core under loads where nothing fails: how many containers, and how long inputs wait."""
