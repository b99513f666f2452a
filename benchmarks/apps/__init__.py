"""The programs that run in Volant's containers. They import nothing of the harness."""
