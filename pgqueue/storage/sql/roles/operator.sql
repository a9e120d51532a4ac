-- an operator: looks at everything, pauses, cancels, sends dead letters again, purges
GRANT USAGE ON SCHEMA pgqueue TO app_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgqueue TO app_operator;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA pgqueue TO app_operator;
