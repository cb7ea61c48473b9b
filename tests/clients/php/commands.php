<?php
// The client php-memcached against one server: commands.php PORT text|binary [USER PASSWORD]. Prints "passed", or
// ends with the first check that fails.

function check(string $what, $got, $wanted): void
{
    if ($got !== $wanted) {
        echo "$what: ", var_export($got, true), ", not ", var_export($wanted, true), "\n";
        exit(1);
    }
}

[, $port, $protocol] = $argv;
$client = new Memcached();
$client->setOption(Memcached::OPT_BINARY_PROTOCOL, $protocol === 'binary');
$client->setOption(Memcached::OPT_TCP_NODELAY, true);
$client->setOption(Memcached::OPT_PREFIX_KEY, "php-$protocol-" . getmypid() . ':');
if (isset($argv[4])) {
    $client->setSaslAuthData($argv[3], $argv[4]);
}
$client->addServer('127.0.0.1', (int) $port);

check('a miss', $client->get('k'), false);
check('its code', $client->getResultCode(), Memcached::RES_NOTFOUND);
check('set', $client->set('k', 'v', 60), true);
check('get', $client->get('k'), 'v');
check('add to what is there', $client->add('k', 'w'), false);
$refused = $protocol === 'binary' ? Memcached::RES_DATA_EXISTS : Memcached::RES_NOTSTORED;
check('its code', $client->getResultCode(), $refused);
check('replace', $client->replace('k', 'w'), true);
check('delete', $client->delete('k'), true);
check('delete again', $client->delete('k'), false);
check('touch of nothing', $client->touch('k', 60), false);

// Values keep their types: they travel in the flags, which must come back whole.
$values = ['int' => 7, 'float' => 1.5, 'bool' => true, 'array' => ['a' => [1, 2]], 'empty' => ''];
check('setMulti', $client->setMulti($values, 60), true);
check('getMulti', $client->getMulti(array_keys($values), Memcached::GET_PRESERVE_ORDER), $values);
$large = str_repeat('large and compressible ', 20000);
check('a compressed value', $client->set('large', $large), true);
check('comes back', $client->get('large'), $large);
check('deleteMulti', $client->deleteMulti(['int', 'float']), ['int' => true, 'float' => true]);
check('getMulti with misses', $client->getMulti(['int', 'bool']), ['bool' => true]);

$client->setOption(Memcached::OPT_COMPRESSION, false);
check('set for append', $client->set('joined', 'b'), true);
check('append', $client->append('joined', 'c'), true);
check('prepend', $client->prepend('joined', 'a'), true);
check('joined', $client->get('joined'), 'abc');

check('set for cas', $client->set('cas', 1), true);
$found = $client->get('cas', null, Memcached::GET_EXTENDED);
check('value with its cas', $found['value'], 1);
check('cas', $client->cas($found['cas'], 'cas', 2), true);
check('cas of an older version', $client->cas($found['cas'], 'cas', 3), false);
check('its code', $client->getResultCode(), Memcached::RES_DATA_EXISTS);

check('increment of nothing', $client->increment('none'), false);
check('set a number', $client->set('n', 10), true);
check('increment', $client->increment('n', 5), 15);
check('decrement', $client->decrement('n', 20), 0);
if ($protocol === 'binary') {
    check('increment from a start', $client->increment('start', 1, 5, 60), 5);
    check('and on', $client->increment('start', 1, 5, 60), 6);
}

check('touch', $client->touch('cas', 60), true);
if ($protocol === 'text') {
    // The binary protocol has no negative exptimes.
    check('an exptime in the past', $client->touch('cas', -1), true);
    check('is a miss', $client->get('cas'), false);
}
check('a key that is too long', $client->set(str_repeat('k', 251), 1), false);
check('a value that is too large', $client->set('huge', random_bytes(2 << 20)), false);
check('goes on', $client->set('after', 'x') && $client->get('after') === 'x', true);
echo "passed\n";
