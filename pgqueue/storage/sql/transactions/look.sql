-- What became of the transaction in the body, with the settings under which it is settled: as the acker has them, not
-- as the body may have left them. A client that falls silent from here on must not keep the lease's lock for long.
SELECT
    current_setting(%(name)s, true) AS message_id,
    current_setting('transaction_read_only') = 'on' AS read_only,
    set_config('role', 'none', true),
    set_config('plan_cache_mode', 'force_generic_plan', true),
    set_config('enable_seqscan', 'off', true),
    set_config('jit', 'off', true),
    set_config('lock_timeout', '0', true),
    set_config('statement_timeout', '60s', true),
    set_config('idle_in_transaction_session_timeout', '60s', true)
