<?php

declare(strict_types=1);

/** The address in a text as Magento reads it, or nothing. */
function address(string $text): string
{
    return (string) filter_var(trim($text), FILTER_VALIDATE_IP);
}

/** Whether a shop with this flag, and this list or none (false), turns a client away. */
function turns_away(bool $flag, string|false $list, string $client): bool
{
    if (!$flag) {
        return false;
    }
    if (!$client || $list === false) {
        return true;
    }
    foreach (explode(',', trim($list)) as $entry) {
        if ($entry === $client || is_range($entry) && covers($entry, $client)) {
            return false;
        }
    }
    return true;
}

function is_range(string $entry): bool
{
    [$network, $length] = explode('/', $entry, 2) + [1 => ''];
    $longest = str_contains($network, ':') ? 128 : 32;
    return is_numeric($length) && $length >= 0 && $length <= $longest
        && filter_var($network, FILTER_VALIDATE_IP) !== false;
}

/** The families are not looked at, as in Magento: 10.0.0.0/8 covers a00::1. */
function covers(string $range, string $client): bool
{
    [$network, $length] = explode('/', $range, 2);
    return substr(bits($network), 0, (int) $length) === substr(bits($client), 0, (int) $length);
}

function bits(string $address): string
{
    return implode(array_map(fn ($byte) => sprintf('%08b', $byte), unpack('C*', inet_pton($address))));
}
