<?php
// Managed by owc-deploy. Runs before every script that the web server starts, and refuses what is closed
// on this site (mitigations.json in the site's folder). nginx refuses first, by what the address looks
// like; this looks at what PHP and WordPress made of it, so another spelling of an address is no way round.
(static function (): void {
    if (!preg_match('~^/srv/owc/sites/[a-z][a-z0-9-]*(?=/)~', $_SERVER['DOCUMENT_ROOT'] ?? '', $found)) {
        return;
    }
    $file = $found[0] . '/mitigations.json';
    if (!is_file($file)) {
        return;
    }
    $mitigations = json_decode((string) @file_get_contents($file), true);
    if (!is_array($mitigations)) {
        error_log('owc-deploy: ' . $file . ' cannot be read: nothing is closed');
        return;
    }
    $answer = array(
        'code' => 'owc_mitigated',
        'message' => 'Dit onderdeel is tijdelijk gesloten om veiligheidsredenen. / Closed for security reasons.',
        'data' => array('status' => 403),
    );
    $refuse = static function () use ($answer): void {
        http_response_code(403);
        header('Content-Type: application/json; charset=utf-8');
        header('Cache-Control: no-store');
        echo json_encode($answer);
        exit;
    };
    $hook = static function (string $name, int $priority, callable $function, int $arguments): void {
        $GLOBALS['wp_filter'][$name][$priority]['owc_mitigation'] = array(
            'function' => $function,
            'accepted_args' => $arguments,
        );
    };

    $script = (string) realpath($_SERVER['SCRIPT_FILENAME'] ?? '');
    $routes = array();
    foreach ($mitigations as $mitigation) {
        foreach ($mitigation['folders'] as $folder) {
            if (strpos($script, '/public/wp-content/' . $folder . '/') !== false) {
                $refuse();
            }
        }
        foreach ($mitigation['ajax_actions'] as $action) {
            foreach (array('wp_ajax_', 'wp_ajax_nopriv_', 'admin_post_', 'admin_post_nopriv_') as $prefix) {
                $hook($prefix . $action, PHP_INT_MIN, $refuse, 0);
            }
        }
        $routes = array_merge($routes, $mitigation['routes']);
    }
    if (!$routes) {
        return;
    }
    // WordPress compares routes without regard to case, and lets one end in a line break. To it they are
    // regular expressions, so a point in one stands for any sign.
    $is_closed = static function (string $path) use ($routes): bool {
        $path = '/' . strtolower(trim(preg_replace('~[/\\\\\s]+~', '/', $path), '/')) . '/';
        foreach ($routes as $route) {
            if (preg_match('~^' . str_replace('\\.', '.', preg_quote($route, '~')) . '/~s', $path)) {
                return true;
            }
        }
        return false;
    };
    $closed = static function ($request) use ($is_closed): bool {
        if ($is_closed($request->get_route())) {
            return true;
        }
        // A batch checks what it was given with the routes' own code before it dispatches any of it.
        $batch = preg_match('~^[/\\\\\s]*batch[/\\\\\s]+v1[/\\\\\s]*$~i', $request->get_route()) ? $request['requests'] : null;
        foreach (is_array($batch) ? $batch : array() as $one) {
            $address = is_array($one) && is_string($one['path'] ?? null) ? $one['path'] : '';
            if ($is_closed((string) parse_url($address, PHP_URL_PATH)) || $is_closed($address)) {
                return true;
            }
        }
        return false;
    };
    // Every request to a route comes by here: from outside, from a batch, and from WordPress itself.
    $hook('rest_pre_dispatch', PHP_INT_MAX, static function ($result, $server, $request) use ($closed, $answer) {
        return $closed($request) ? new WP_REST_Response($answer, 403, array('Cache-Control' => 'no-store')) : $result;
    }, 3);
    $hook('rest_request_before_callbacks', PHP_INT_MAX, static function ($result, $handler, $request) use ($closed, $answer) {
        return $closed($request) ? new WP_Error($answer['code'], $answer['message'], $answer['data']) : $result;
    }, 3);
})();
