SELECT version_num
FROM pgqueue.alembic_version
