<?php
/**
 * Plugin Name:       Lab Base
 * Description:       Base of the lab blocks. Switches itself off without Lab Fields.
 * Version:           3.1.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-base
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

const LAB_BASE_FIELDS_FILE    = 'lab-fields/init.php';
const LAB_BASE_FIELDS_VERSION = '2.10.1';

/**
 * Reads the version of Lab Fields from its file, as many real blocks do.
 */
function lab_base_fields_version(): string {
	$file = WP_PLUGIN_DIR . '/' . LAB_BASE_FIELDS_FILE;
	if ( ! is_readable( $file ) ) {
		return '0.0.0';
	}
	$head = (string) file_get_contents( $file, false, null, 0, 8192 );
	return 1 === preg_match( '/^\s*\*\s*Version:\s*(\S+)/m', $head, $found ) ? $found[1] : '0.0.0';
}

add_action(
	'plugins_loaded',
	static function (): void {
		require_once ABSPATH . 'wp-admin/includes/plugin.php';
		$present = is_plugin_active( LAB_BASE_FIELDS_FILE );
		if ( ! $present || version_compare( lab_base_fields_version(), LAB_BASE_FIELDS_VERSION, '<' ) ) {
			// In any request: front end, cron and WP-CLI alike. The page still answers 200.
			deactivate_plugins( plugin_basename( __FILE__ ) );
			return;
		}
		require_once __DIR__ . '/src/class-lab-base-plugin.php';
		require_once __DIR__ . '/src/functions.php';
		( new Lab_Base_Plugin( 'base' ) )->boot();
	},
	5
);
