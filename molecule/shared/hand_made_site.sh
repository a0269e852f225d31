# What a release leaves on a server, in the least form: the site `test`, whose one page reports what
# its PHP can and cannot do.
set -eu
site=test
version=$(basename "$(ls -d /usr/sbin/php-fpm8.* | head -n 1)" | sed 's/php-fpm//')
home=/srv/owc/sites/$site
release=$home/releases/r1

id "owc-$site" >/dev/null 2>&1 ||
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "owc-$site"
usermod -aG "owc-$site" www-data
usermod -aG owc-redis "owc-$site"
install -d -m 0750 -o root -g "owc-$site" $home
install -d -m 0755 $home/releases $release $release/public $release/public/wp-content $release/public/wp-includes
install -d -m 0755 $release/public/wp-content/plugins/block $home/shared
install -d -m 0700 $home/tls
install -d -m 0750 -o "owc-$site" -g "owc-$site" $home/shared/uploads $home/shared/tmp
ln -sfn releases/r1 $home/current
ln -sfn "/usr/bin/php$version" $release/php
ln -sfn "/usr/sbin/php-fpm$version" $release/php-fpm
ln -sfn $home/shared/uploads $release/public/wp-content/uploads

mariadb -e "CREATE DATABASE IF NOT EXISTS owc_$site;
            CREATE USER IF NOT EXISTS 'owc-$site'@'localhost' IDENTIFIED VIA unix_socket;
            GRANT ALL ON owc_$site.* TO 'owc-$site'@'localhost'"

cat >$release/php-fpm.conf <<END
[global]
error_log = syslog
syslog.ident = owc-php-fpm-$site
[www]
listen = /run/owc-php-fpm/$site/php-fpm.sock
listen.mode = 0660
pm = ondemand
pm.max_children = 4
END

cat >$release/public/index.php <<'END'
<?php
header('Content-Type: application/json');
header('X-Frame-Options: ALLOWALL');
$site = '/srv/owc/sites/test';
$script = __DIR__ . '/wp-content/uploads/script.sh';
file_put_contents($script, "#!/bin/sh\necho ran\n");
chmod($script, 0755);
$attempt = function (callable $do) {
    try {
        return $do();
    } catch (Throwable $error) {
        return $error->getMessage();
    }
};
$redis = new Redis();
echo json_encode([
    'user' => posix_getpwuid(posix_geteuid())['name'],
    'script' => $_SERVER['SCRIPT_FILENAME'],
    'document_root' => $_SERVER['DOCUMENT_ROOT'],
    'https' => $_SERVER['HTTPS'] ?? '',
    'query' => $_SERVER['QUERY_STRING'],
    'writes_release' => @file_put_contents(__DIR__ . '/x.php', '') !== false,
    'writes_uploads' => @file_put_contents(__DIR__ . '/wp-content/uploads/a.txt', 'a') !== false,
    'writes_tmp' => @file_put_contents('/tmp/x', 'x') !== false,
    'reads_certificate_key' => @file_get_contents($site . '/tls/privkey.pem') !== false,
    'lists_letsencrypt' => @scandir('/etc/letsencrypt') !== false,
    'runs_upload' => str_contains((string) @shell_exec($script . ' 2>&1'), 'ran'),
    'becomes_root' => str_contains((string) @shell_exec('sudo -n id 2>&1'), 'uid=0'),
    'processes_seen' => count(array_diff(array_map(
        fn ($path) => (string) @fileowner($path), glob('/proc/[0-9]*') ?: []
    ), [(string) posix_geteuid()])),
    'database' => $attempt(function () {
        $database = new mysqli('localhost', 'owc-test', '', 'owc_test', 0, '/run/mysqld/mysqld.sock');
        return $database->query('SELECT CURRENT_USER(), @@character_set_server')->fetch_row();
    }),
    'other_database' => $attempt(fn () => (bool) (new mysqli('localhost', 'owc-test', '', 'mysql', 0, '/run/mysqld/mysqld.sock'))),
    'cache' => $attempt(fn () => $redis->connect('/run/redis/redis-server.sock') && $redis->set('owc-test:a', '1')),
    'flushes_cache' => $attempt(fn () => $redis->rawCommand('FLUSHALL')),
    'image' => strlen((function () {
        ob_start();
        imagejpeg(imagecreatetruecolor(9, 9));
        return ob_get_clean();
    })()) > 100,
    'opcache' => is_array(@opcache_get_status(false)),
    'extensions' => array_values(array_diff(
        ['curl', 'gd', 'intl', 'mbstring', 'mysqli', 'redis', 'xml', 'zip', 'Zend OPcache'], get_loaded_extensions()
    )),
]);
END
cp $release/public/index.php $release/public/wp-login.php
cat >$release/public/wp-cron.php <<'END'
<?php
file_put_contents('/srv/owc/sites/test/shared/uploads/cron.txt', posix_getpwuid(posix_geteuid())['name']);
END
for file in xmlrpc.php readme.html license.txt wp-config.php wp-includes/version.php wp-includes/rss-functions.php \
    wp-content/debug.log wp-content/owc-sync-log-2026.json wp-content/plugins/block/readme.txt \
    wp-content/plugins/block/composer.json .git .env dump.sql wp-content/plugins/block/.htaccess; do
    echo '<?php echo "secret";' >$release/public/$file
done
echo 'body{}' >$release/public/style.css
echo '<?php echo "secret";' >$home/shared/uploads/evil.php
echo secret >$home/shared/uploads/dump.sql
echo secret >$home/shared/uploads/notes.md
echo picture >$home/shared/uploads/picture.jpg
chown -R "owc-$site:owc-$site" $home/shared/uploads

[ -e $home/tls/fullchain.pem ] ||
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 10 -subj "/CN=www.$site.example" \
        -keyout $home/tls/privkey.pem -out $home/tls/fullchain.pem 2>/dev/null
cat >$release/nginx.conf <<END
server {
    listen 80;
    listen [::]:80;
    server_name www.$site.example;
    include /etc/nginx/snippets/owc-acme.conf;
    location / {
        return 301 https://\$host\$request_uri;
    }
}
server {
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name www.$site.example;
    ssl_certificate $home/tls/fullchain.pem;
    ssl_certificate_key $home/tls/privkey.pem;
    include /etc/nginx/snippets/owc-tls.conf;
    include /etc/nginx/snippets/owc-headers.conf;
    root $home/current/public;
    set \$owc_socket /run/owc-php-fpm/$site/php-fpm.sock;
    include /etc/nginx/snippets/owc-wordpress.conf;
}
END
nginx -t -q
systemctl reload nginx
systemctl enable --quiet "owc-php-fpm@$site.service" "owc-cron@$site.timer"
systemctl restart "owc-php-fpm@$site.service"
systemctl start "owc-cron@$site.timer"
