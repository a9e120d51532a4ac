-- Tells fetchers to read lanes and slots again; after the commit of what changed, for sequences show at once.
SELECT nextval('pgqueue.catalog_seq') AS catalog
