-- The time zone of texts, for the rest of the transaction or savepoint.
SELECT set_config('TimeZone', %(name)s, true)
