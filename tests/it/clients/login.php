<?php
// Logs in as app/app with mysqli and with PDO and prints the errors that they raise, as an application would show them.
//
// login.php HOST PORT
[, $host, $port] = $argv;
$ways = [
    fn () => new mysqli($host, 'app', 'app', '', (int) $port),
    fn () => new PDO("mysql:host=$host;port=$port", 'app', 'app'),
];
foreach ($ways as $way) {
    try {
        $way();
        echo "logged in\n";
    } catch (Exception $error) {
        echo $error->getMessage(), "\n";
    }
}
