-- Accounts of the test servers. app may do everything that read_only still stops; the others are one way to log in each.
CREATE USER app@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('app');
GRANT ALL ON *.* TO app@'%' WITH GRANT OPTION;
REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM app@'%';
CREATE USER monitor@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('monitor');
GRANT REPLICATION CLIENT, REPLICA MONITOR ON *.* TO monitor@'%';
CREATE USER repl@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('repl');
GRANT REPLICATION SLAVE ON *.* TO repl@'%';
CREATE USER other@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('other');
GRANT ALL ON test.* TO other@'%';
CREATE USER 'empty'@'%' IDENTIFIED VIA mysql_native_password USING '';
GRANT SELECT ON test.* TO 'empty'@'%';
-- Longer than a scramble and not plain ASCII.
CREATE USER longish@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('a pässword of more than twenty bytes, with spaces');
GRANT SELECT ON test.* TO longish@'%';
-- The account that backend_user maps clients to.
CREATE USER service@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('service-secret');
GRANT ALL ON test.* TO service@'%';
-- One connection at a time: the server answers a second login with 1226.
CREATE USER single@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('single') WITH MAX_USER_CONNECTIONS 1;
-- An account whose plugin a balancer cannot answer from a password hash.
INSTALL SONAME 'auth_ed25519';
CREATE USER signed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('signed');
CREATE DATABASE IF NOT EXISTS test;
