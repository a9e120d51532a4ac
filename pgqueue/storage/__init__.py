"""PostgreSQL as pgqueue uses it: connections, statements and typed functions over them; the only home of SQL."""
