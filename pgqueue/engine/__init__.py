"""What runs messages through one process: sessions, fetchers, ackers, settlements. Knows bytes and ids, no Message."""
