"""The brokers: `pgqueue.brokers.postgres` for work, `pgqueue.brokers.stub` for tests without a server."""
