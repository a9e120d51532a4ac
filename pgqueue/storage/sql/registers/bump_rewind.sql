-- Tells fetchers that rows came back behind their positions; after the commit that brought them back.
SELECT nextval('pgqueue.rewind_seq') AS rewind, nextval('pgqueue.message_seq') AS head
