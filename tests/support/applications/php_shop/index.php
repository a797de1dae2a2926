<?php

// A shop for the tests, for `php -S address:port index.php`. It minds Magento's two files in
// SHOP_VAR by Magento's rule. Where SHOP_TRUSTED_PROXY is connected, the client is the last
// address of X-Forwarded-For; else it is whoever is connected, as in a fresh Magento.

declare(strict_types=1);

require __DIR__ . '/rule.php';

function client(): string
{
    if ($_SERVER['REMOTE_ADDR'] !== getenv('SHOP_TRUSTED_PROXY')) {
        return address($_SERVER['REMOTE_ADDR']);
    }
    $hops = explode(',', $_SERVER['HTTP_X_FORWARDED_FOR'] ?? '');
    return address(end($hops));
}

function is_closed(string $var): bool
{
    clearstatcache();
    $list = is_file("$var/.maintenance.ip") ? file_get_contents("$var/.maintenance.ip") : false;
    return turns_away(file_exists("$var/.maintenance.flag"), $list, client());
}

function request_as_json(): string
{
    $hash = hash_init('sha256');
    $length = hash_update_stream($hash, fopen('php://input', 'rb'));
    return json_encode([
        'method' => $_SERVER['REQUEST_METHOD'],
        'target' => $_SERVER['REQUEST_URI'],
        'headers' => array_change_key_case(getallheaders()),
        'length' => $length,
        'sha256' => hash_final($hash),
    ], JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES);
}

function send(int $pieces, string $before = '', string $after = ''): void
{
    for ($number = 0; $number < $pieces; $number++) {
        echo $before, str_repeat(chr($number % 256), 65536), $after;
        flush();
    }
}

if (is_closed(getenv('SHOP_VAR'))) {
    http_response_code(503);
    header('Content-Type: text/plain');
    echo 'shop: maintenance';
    return;
}
header('X-Shop: here');
$pieces = (int) ($_GET['pieces'] ?? 0);
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/cookies':
        setcookie('frontend', 'a b', ['path' => '/', 'httponly' => true]);
        setcookie('form_key', 'x,y', ['domain' => 'shop.example']);
        break;
    case '/redirect':
        header('Location: http://127.0.0.1:1/elsewhere?a=%C3%A9', true, 302);
        break;
    case '/status':
        http_response_code((int) $_GET['code']);
        header('ETag: "1"');
        break;
    case '/download':
        header('Content-Length: ' . $pieces * 65536);
        send($pieces);
        break;
    case '/chunked':
        header('Transfer-Encoding: chunked');
        send($pieces, "10000\r\n", "\r\n");
        echo "0\r\n\r\n";
        break;
    default:
        header('Content-Type: application/json');
        echo request_as_json();
}
