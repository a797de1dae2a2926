<?php

// Reads cases {flag, list (base64 or null), peer} as JSON; prints which of them are admitted.

declare(strict_types=1);

require __DIR__ . '/rule.php';

function is_admitted(array $case): bool
{
    $list = $case['list'] === null ? false : base64_decode($case['list'], true);
    return !turns_away($case['flag'], $list, address($case['peer']));
}

echo json_encode(array_map(is_admitted(...), json_decode(stream_get_contents(STDIN), true)));
