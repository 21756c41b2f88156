"""The test table: one or more rows for every op and function. The tests in test_ops.py and peer/ run each row."""
