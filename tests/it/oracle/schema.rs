//! What every program finds: two schemas with tables, views, functions, procedures and a trigger, the same for all.

use crate::harness::Flavour;

/// Where a program's own schema is named in a statement; a second one has the same name with an `x` behind it.
pub(super) const HERE: &str = "<db>";

/// One text of many statements that makes the schemas of a program.
pub(super) fn set_up(database: &str, flavour: Flavour, spare: SpareEngine) -> String {
    let family = if flavour.is_mariadb() { MARIADB } else { MYSQL };
    let engine = match spare {
        SpareEngine::MyIsam => "MyISAM",
        SpareEngine::InnoDb => "InnoDB",
    };
    (TABLES.to_owned() + PROGRAMS + family).replace(HERE, database).replace("<engine>", engine)
}

/// The engine of the table that no transaction protects; Galera replicates only InnoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpareEngine {
    MyIsam,
    InnoDb,
}

const TABLES: &str = "
CREATE DATABASE <db>x CHARACTER SET latin1;
CREATE TABLE <db>x.t1 (id INT PRIMARY KEY, s VARCHAR(20));
INSERT INTO <db>x.t1 VALUES (1, 'elsewhere');
CREATE DATABASE <db> CHARACTER SET utf8mb4;
USE <db>;
CREATE TABLE t1 (
  id INT AUTO_INCREMENT PRIMARY KEY, n INT, s VARCHAR(60), d DECIMAL(10, 2), moment DATETIME, stamp TIMESTAMP NULL, KEY (n)
);
INSERT INTO t1 (n, s, d, moment, stamp) VALUES
  (1, 'one', 1.10, '2024-01-01 00:00:00', '2024-01-01 00:00:00'), (2, 'Zoë', 2.20, NULL, NULL),
  (3, 'it''s', NULL, '2024-03-31 02:30:00', '2024-03-31 06:30:00'), (5, 'back\\\\slash', 5.50, NULL, NULL),
  (8, '', 0, NULL, '2030-06-15 12:00:00'), (NULL, NULL, NULL, NULL, NULL), (13, '漢字', 13.37, NULL, NULL), (1, 'ONE', 1, NULL, NULL);
CREATE TABLE t2 (id INT PRIMARY KEY, t1_id INT, label VARCHAR(30) UNIQUE, body LONGTEXT);
INSERT INTO t2 VALUES (1, 1, 'first', REPEAT('x', 300)), (2, 1, 'second', NULL), (3, 3, 'third', 'y'), (4, 99, 'none', '');
CREATE TABLE t3 (id INT AUTO_INCREMENT PRIMARY KEY, v INT) ENGINE = <engine>;
INSERT INTO t3 (v) VALUES (10), (20), (30);
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, v INT);
";

const PROGRAMS: &str = "
CREATE FUNCTION f_pure (a INT) RETURNS INT DETERMINISTIC NO SQL RETURN a * 2;
CREATE FUNCTION f_read () RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM t1);
CREATE FUNCTION f_write (a INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO log (v) VALUES (a); RETURN a + 1; END;
CREATE FUNCTION f_set (a INT) RETURNS INT NO SQL BEGIN SET @u1 = a; RETURN a; END;
CREATE PROCEDURE p_rows (a INT) BEGIN SELECT a, a + 1; SELECT id, s FROM t1 WHERE id <= a ORDER BY id; END;
CREATE PROCEDURE p_write (a INT)
  BEGIN INSERT INTO t1 (n, s) VALUES (a, CONCAT('p', a)); SELECT LAST_INSERT_ID(), ROW_COUNT(); END;
CREATE PROCEDURE p_set (a INT)
  BEGIN SET @u1 = a, @u2 = CONCAT('set', a); SET SESSION group_concat_max_len = 4 + a; SET @@time_zone = '+02:00'; END;
CREATE PROCEDURE p_out (a INT, OUT b INT, INOUT c INT) BEGIN SET b = a * 2; SET c = c + a; SELECT a, b, c; END;
CREATE PROCEDURE p_begin (a INT) BEGIN START TRANSACTION; INSERT INTO log (v) VALUES (a); END;
CREATE PROCEDURE p_manual () SET autocommit = 0;
CREATE PROCEDURE p_warn () SELECT 1 / 0, CAST('x' AS SIGNED);
CREATE PROCEDURE p_fail () BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'as meant'; END;
CREATE PROCEDURE p_temp (a INT)
  BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS tmp1 (a INT, b VARCHAR(20)); INSERT INTO tmp1 VALUES (a, 'procedure'); END;
CREATE PROCEDURE p_prepare () PREPARE s1 FROM 'SELECT 5, @u1';
CREATE TRIGGER noted AFTER INSERT ON t2 FOR EACH ROW BEGIN INSERT INTO log (v) VALUES (NEW.id); SET @noted = NEW.label; END;
CREATE VIEW v_plain AS SELECT id, n FROM t1 WHERE n > 2;
CREATE VIEW v_write AS SELECT id, f_write(id) AS w FROM t1 WHERE id <= 2;
CREATE VIEW v_set AS SELECT f_set(9) AS w;
";

const MARIADB: &str = "CREATE SEQUENCE seq NOCACHE";
const MYSQL: &str = "SELECT 1";
