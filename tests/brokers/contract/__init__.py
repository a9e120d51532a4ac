"""What every broker must do, as Dramatiq's brokers do it; the fixture ``broker`` is each of ours in turn."""
