"""The PHP that speaks to WordPress, kept as text so that it travels with the agent.

It reads one JSON request on stdin and prints one JSON report after the request's own marker, so
whatever a plugin prints cannot be mistaken for it. It is started as the site's own user, by PHP's
command line or by the site's PHP-FPM.
"""

DRIVER = r"""<?php
$request = json_decode(file_get_contents(PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input'), true);
ini_set('display_errors', '0');
error_reporting(E_ALL);
set_time_limit(0);
chdir($request['public']);
$report = ['ended' => false, 'doing' => 'start', 'errors' => [], 'deactivated' => [], 'php_messages' => []];
$allow_plugin_changes = false;

ob_start();
register_shutdown_function(static function () use ($request): void {
    global $report;
    $error = error_get_last();
    $fatal = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR;
    if (!$report['ended'] && $error !== null && ($error['type'] & $fatal)) {
        $report['errors'][] = sprintf(
            '%s stopped PHP: %s in %s line %d',
            $report['doing'],
            strtok($error['message'], "\n"),
            preg_replace('~^.*/public/~', '', $error['file']),
            $error['line']
        );
    } elseif (!$report['ended'] && $request['action'] !== 'admin') {
        // In wp-admin a block may well send the editor elsewhere, to its first settings say.
        $report['errors'][] = $report['doing'] . ' ended early';
    }
    $report['php_messages'] = array_slice(array_keys($report['php_messages']), 0, 20);
    while (ob_get_level() > 0) {
        ob_end_clean();
    }
    echo "\n" . $request['marker'] . json_encode($report, JSON_PARTIAL_OUTPUT_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
});

// What visitors and editors made PHP-FPM compile of the live release, compiled in the new one before they come.
if ($request['action'] === 'compile') {
    $report['doing'] = 'compiling';
    $status = function_exists('opcache_get_status') ? opcache_get_status(true) : false;
    $memory = $status['memory_usage'] ?? null;
    // Every release has a path of its own, and the compiled code of all of them is kept until the memory for
    // that is full; from then on every visitor has WordPress compiled anew. So it is emptied in time.
    if ($request['part'] === 0 && $memory && $memory['free_memory'] < ($memory['used_memory'] + $memory['wasted_memory']) / 2) {
        opcache_reset();
    }
    error_reporting(0);
    foreach (array_keys($status['scripts'] ?? []) as $script) {
        // By its name: the list that each part gets grows by what the others compile.
        if (crc32($script) % $request['parts'] !== $request['part']) {
            continue;
        }
        $twin = $request['public'] . substr($script, strlen($request['live']));
        if (strncmp($script, $request['live'] . '/', strlen($request['live']) + 1) === 0 && is_file($twin)) {
            opcache_compile_file($twin);
        }
    }
    $report['ended'] = true;
    exit;
}

$host = parse_url($request['url'], PHP_URL_HOST);
$_SERVER = [
    'HTTP_HOST' => $host, 'SERVER_NAME' => $host, 'SERVER_PORT' => '443', 'HTTPS' => 'on',
    'REQUEST_METHOD' => 'GET', 'REQUEST_URI' => '/', 'SCRIPT_NAME' => '/index.php',
    'PHP_SELF' => '/index.php', 'SERVER_PROTOCOL' => 'HTTP/1.1', 'REMOTE_ADDR' => '127.0.0.1',
    'HTTP_USER_AGENT' => 'owc-deploy', 'DOCUMENT_ROOT' => $request['public'],
    'SCRIPT_FILENAME' => $request['public'] . '/index.php', 'QUERY_STRING' => '',
    'REQUEST_TIME' => time(), 'REQUEST_TIME_FLOAT' => microtime(true),
] + $_SERVER;

set_error_handler(static function (int $type, string $text, string $file, int $line): bool {
    global $report;
    if (error_reporting() & $type) {
        $place = preg_replace('~^.*/public/~', '', $file);
        $report['php_messages'][substr($text, 0, 200) . ' in ' . $place . ' line ' . $line] = true;
    }
    return false;
});

define('WP_DISABLE_FATAL_ERROR_HANDLER', true);
// This is the release itself at work: a site that is frozen is frozen for others.
define('OWC_RELEASING', true);
if ($request['action'] === 'schema') {
    define('WP_INSTALLING', true);
    // Nobody is to receive an e-mail about an account, and a town hall needs no sample comment.
    function wp_new_blog_notification($title, $url, $user, $password): void {}
}
if ($request['action'] === 'configure') {
    define('WP_ADMIN', true);
}

// A block that switches itself off must be seen, and must not leave that in the database.
$GLOBALS['wp_filter']['pre_update_option_active_plugins'][PHP_INT_MAX]['owc_deploy'] = [
    'accepted_args' => 2,
    'function' => static function ($new, $old) {
        global $report, $allow_plugin_changes;
        if ($allow_plugin_changes) {
            return $new;
        }
        $off = array_values(array_diff((array) $old, (array) $new));
        $report['deactivated'] = array_values(array_unique(array_merge($report['deactivated'], $off)));
        return $old;
    },
];
// Nothing here may wait for the internet.
$GLOBALS['wp_filter']['pre_http_request'][PHP_INT_MAX]['owc_deploy'] = [
    'accepted_args' => 1,
    'function' => static fn () => new WP_Error('owc_deploy', 'no requests while releasing'),
];
$GLOBALS['wp_filter']['pre_wp_mail'][PHP_INT_MAX]['owc_deploy'] = [
    'accepted_args' => 1,
    'function' => static fn () => true,
];

$report['doing'] = 'loading WordPress and its plugins';
if ($request['action'] === 'admin') {
    // A page of wp-admin that changes nothing, as an administrator sees it; here nobody logs in, so
    // who it is is said.
    function auth_redirect(): void {}
    $GLOBALS['wp_filter']['determine_current_user'][PHP_INT_MAX]['owc_deploy'] = [
        'accepted_args' => 0,
        'function' => static function (): int {
            global $wpdb;
            return (int) $wpdb->get_var($wpdb->prepare(
                "SELECT user_id FROM {$wpdb->usermeta} WHERE meta_key = %s AND meta_value LIKE %s ORDER BY user_id LIMIT 1",
                $wpdb->prefix . 'capabilities',
                '%"administrator"%'
            ));
        },
    ];
    $_SERVER['REQUEST_URI'] = $_SERVER['PHP_SELF'] = $_SERVER['SCRIPT_NAME'] = '/wp-admin/tools.php';
    ob_start();
    require $request['public'] . '/wp-admin/tools.php';
    $page = (string) ob_get_clean();
    if (stripos($page, '</html>') === false) {
        $report['errors'][] = 'the page of wp-admin is cut short';
    }
    $report['ended'] = true;
    exit;
}
require $request['public'] . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php';

function owc_schema(array $request): void
{
    global $report, $wp_db_version, $wpdb;
    require_once ABSPATH . 'wp-admin/includes/upgrade.php';
    if (!is_blog_installed()) {
        $report['doing'] = 'installing WordPress';
        $first = $request['administrators'][0];
        $done = wp_install($request['title'], $first['login'], $first['email'], true, '', wp_generate_password(64, true, true), $request['locale']);
        foreach ([1, 2] as $sample) {
            wp_delete_post($sample, true);
        }
        update_option('permalink_structure', '/%postname%/');
        $report['installed'] = is_array($done);
    } elseif ((int) get_option('db_version') !== (int) $wp_db_version) {
        $report['doing'] = 'upgrading the database';
        wp_upgrade();
    }
    wp_cache_flush();
    $report['database_version'] = (int) get_option('db_version');
}

function owc_configure(array $request): void
{
    global $report, $allow_plugin_changes;
    require_once ABSPATH . 'wp-admin/includes/admin.php';
    if (get_stylesheet() !== $request['theme']) {
        $report['doing'] = 'switching to theme ' . $request['theme'];
        $theme = wp_get_theme($request['theme']);
        if ($theme->errors()) {
            $report['errors'][] = 'theme ' . $request['theme'] . ': ' . $theme->errors()->get_error_message();
            return;
        }
        switch_theme($request['theme']);
    }
    // A plugin that only got another folder is not new: nothing is activated, nothing was deactivated.
    $active = (array) get_option('active_plugins', []);
    foreach ($request['renamed'] as $from => $to) {
        if (in_array($from, $active, true) && !in_array($to, $active, true)) {
            $active[] = $to;
        }
    }
    $allow_plugin_changes = true;
    update_option('active_plugins', $active);
    $allow_plugin_changes = false;
    foreach ($request['plugins'] as $plugin) {
        if (in_array($plugin, (array) get_option('active_plugins', []), true)) {
            continue;
        }
        $report['doing'] = 'activating ' . $plugin;
        $allow_plugin_changes = true;
        $result = activate_plugin($plugin);
        $allow_plugin_changes = false;
        if (is_wp_error($result)) {
            $report['errors'][] = 'activating ' . $plugin . ': ' . wp_strip_all_tags($result->get_error_message());
            return;
        }
    }
    $allow_plugin_changes = true;
    update_option('active_plugins', array_merge($request['plugins'], $request['leaving']));
    $allow_plugin_changes = false;
    $report['doing'] = 'writing the options that the manifest owns';
    foreach ($request['options'] as $name => $value) {
        $present = get_option($name, null);
        $merge = is_array($value) && !array_is_list($value) && is_array($present);
        update_option($name, $merge ? array_replace($present, $value) : $value);
    }
    foreach ($request['administrators'] as $administrator) {
        $report['doing'] = 'making administrator ' . $administrator['login'];
        $user = get_user_by('login', $administrator['login']);
        if (!$user) {
            $id = wp_insert_user([
                'user_login' => $administrator['login'],
                'user_email' => $administrator['email'],
                'user_pass' => wp_generate_password(64, true, true),
                'role' => 'administrator',
            ]);
            if (is_wp_error($id)) {
                $report['errors'][] = 'administrator ' . $administrator['login'] . ': ' . $id->get_error_message();
            }
        } elseif (!in_array('administrator', $user->roles, true)) {
            $user->set_role('administrator');
        }
    }
}

function owc_deactivate(array $request): void
{
    global $report, $allow_plugin_changes;
    $active = get_option('active_plugins', []);
    $allow_plugin_changes = true;
    foreach ($request['plugins'] as $plugin) {
        $report['doing'] = 'deactivating ' . $plugin;
        deactivate_plugins($plugin);
    }
    // Off, but on the list until the new code serves: what needs them would switch itself off.
    update_option('active_plugins', $active);
    $allow_plugin_changes = false;
}

function owc_rehearse(array $request): void
{
    global $report;
    $report['doing'] = 'flushing the rewrite rules';
    flush_rewrite_rules(false);
    $report['plugins'] = [];
    foreach (wp_get_active_and_valid_plugins() as $path) {
        $data = get_plugin_data($path, false, false);
        $report['plugins'][plugin_basename($path)] = $data['Version'];
    }
    $report['theme'] = get_stylesheet();
    $report['locale'] = get_locale();
    $report['rest_namespaces'] = rest_get_server()->get_namespaces();
    $report['rest_routes'] = array_keys(rest_get_server()->get_routes());
    $report['database_version'] = (int) get_option('db_version');
    $report['code_database_version'] = (int) $GLOBALS['wp_db_version'];
    $report['cron_hooks'] = array_values(array_unique(array_merge([], ...array_map('array_keys', array_values(array_filter(_get_cron_array() ?: [], 'is_array'))))));
    $report['doing'] = 'drawing the front page';
    remove_action('template_redirect', 'redirect_canonical');
    define('WP_USE_THEMES', true);
    ob_start();
    wp();
    require ABSPATH . WPINC . '/template-loader.php';
    $report['front_page'] = substr((string) ob_get_clean(), 0, 1000000);
}

function owc_access(array $request): void
{
    global $report;
    $report['doing'] = 'making a link for ' . $request['login'];
    $user = get_user_by('login', $request['login']);
    if (!$user) {
        $report['errors'][] = 'there is no user ' . $request['login'];
        return;
    }
    $key = get_password_reset_key($user);
    if (is_wp_error($key)) {
        $report['errors'][] = $key->get_error_message();
        return;
    }
    $report['link'] = network_site_url('wp-login.php?action=rp&key=' . $key . '&login=' . rawurlencode($user->user_login), 'login');
}

$actions = ['schema' => 'owc_schema', 'configure' => 'owc_configure', 'deactivate' => 'owc_deactivate', 'rehearse' => 'owc_rehearse', 'access' => 'owc_access'];
$actions[$request['action']]($request);
$report['ended'] = true;
"""
