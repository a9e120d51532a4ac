-- A further slot: made beside the ring and attached, which waits for nobody (CREATE TABLE … PARTITION OF would).
CREATE TABLE pgqueue.messages_0 (LIKE pgqueue.messages);
ALTER TABLE pgqueue.messages_0 ADD CONSTRAINT of_slot CHECK (slot = /*slot*/0),
    SET (autovacuum_enabled = off, vacuum_truncate = off);
CREATE INDEX messages_id_0 ON pgqueue.messages_0 (id);
CREATE INDEX messages_message_id_0 ON pgqueue.messages_0 (message_id);
CREATE TABLE pgqueue.ready_0 (LIKE pgqueue.ready);
ALTER TABLE pgqueue.ready_0 ADD CONSTRAINT of_slot CHECK (slot = /*slot*/0),
    SET (autovacuum_enabled = off, vacuum_truncate = off);
CREATE INDEX ready_place_0 ON pgqueue.ready_0 (lane, xid, id);
CREATE TABLE pgqueue.leases_0 (LIKE pgqueue.leases INCLUDING DEFAULTS);
ALTER TABLE pgqueue.leases_0 ADD CONSTRAINT of_slot CHECK (slot = /*slot*/0),
    SET (autovacuum_enabled = off, vacuum_truncate = off);
CREATE UNIQUE INDEX leases_lid_0 ON pgqueue.leases_0 (lid);
ALTER TABLE pgqueue.messages ATTACH PARTITION pgqueue.messages_0 FOR VALUES IN (/*slot*/0);
ALTER TABLE pgqueue.ready ATTACH PARTITION pgqueue.ready_0 FOR VALUES IN (/*slot*/0);
ALTER TABLE pgqueue.leases ATTACH PARTITION pgqueue.leases_0 FOR VALUES IN (/*slot*/0);
INSERT INTO pgqueue.slots (slot, state, turn, first_id) VALUES (/*slot*/0, 'free', 0, 1)
