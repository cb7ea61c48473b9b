<?php
// One request of a web page that counts its visits in a session: session.php ID [MILLISECONDS]. Prints the count. Two
// at a time must not lose a visit, so the session is locked while the page works, here for so many milliseconds.
// Server and protocol come by -d memcached.… as they come from a php.ini.

session_id($argv[1]);
if (!session_start()) {
    exit(1);
}
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
usleep(1000 * (int) ($argv[2] ?? 0));
echo $_SESSION['visits'], "\n";
session_write_close();
