-- Accounts of the test servers. app may do everything that read_only still stops; the others are one way to log in each.
CREATE USER app@'%' IDENTIFIED WITH caching_sha2_password BY 'app';
GRANT ALL ON *.* TO app@'%' WITH GRANT OPTION;
REVOKE SUPER, CONNECTION_ADMIN ON *.* FROM app@'%';
CREATE USER monitor@'%' IDENTIFIED WITH caching_sha2_password BY 'monitor';
GRANT REPLICATION CLIENT ON *.* TO monitor@'%';
CREATE USER repl@'%' IDENTIFIED WITH caching_sha2_password BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'%';
CREATE USER other@'%' IDENTIFIED WITH caching_sha2_password BY 'other';
GRANT ALL ON test.* TO other@'%';
CREATE USER 'empty'@'%' IDENTIFIED WITH caching_sha2_password BY '';
GRANT SELECT ON test.* TO 'empty'@'%';
-- Longer than a scramble and not plain ASCII.
CREATE USER longish@'%' IDENTIFIED WITH caching_sha2_password BY 'a pässword of more than twenty bytes, with spaces';
GRANT SELECT ON test.* TO longish@'%';
-- The account that backend_user maps clients to.
CREATE USER service@'%' IDENTIFIED WITH caching_sha2_password BY 'service-secret';
GRANT ALL ON test.* TO service@'%';
-- One connection at a time: the server answers a second login with 1226.
CREATE USER single@'%' IDENTIFIED WITH caching_sha2_password BY 'single' WITH MAX_USER_CONNECTIONS 1;
-- An account whose plugin a balancer cannot answer from a password hash.
CREATE USER signed@'%' IDENTIFIED WITH sha256_password BY 'signed';
CREATE DATABASE IF NOT EXISTS test;
