<?php
/**
 * Plugin Name:       Lab Register
 * Description:       Shows a register of people. Needs the data of 1.x migrated.
 * Version:           2.0.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-register
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

const LAB_REGISTER_VERSION = '2.0.0';

/**
 * Returns the names in the table; `null` when it is of another form.
 *
 * Here it has the columns `given_name` and `family_name`.
 *
 * @return string[]|null
 */
function lab_register_names(): ?array {
	global $wpdb;
	$shown = $wpdb->suppress_errors();
	$names = $wpdb->get_col( "SELECT CONCAT( given_name, ' ', family_name ) FROM {$wpdb->prefix}lab_register ORDER BY id" );
	$wpdb->suppress_errors( $shown );
	return '' === $wpdb->last_error ? $names : null;
}

/**
 * Returns the heading that is kept in an option.
 */
function lab_register_heading(): string {
	return (string) ( get_option( 'lab_register_settings', array() )['title'] ?? '' );
}

add_action(
	'wp_footer',
	static function (): void {
		$names = lab_register_names();
		printf(
			'<div class="lab-register">%s — lab-register %s: %s</div>',
			esc_html( lab_register_heading() ),
			esc_html( LAB_REGISTER_VERSION ),
			esc_html( null === $names ? 'onleesbaar' : implode( '; ', $names ) )
		);
	}
);

register_activation_hook(
	__FILE__,
	static function (): void {
		global $wpdb;
		if ( $wpdb->get_var( "SHOW TABLES LIKE '{$wpdb->prefix}lab_register'" ) ) {
			return;
		}
		$wpdb->query( "CREATE TABLE {$wpdb->prefix}lab_register ( id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, given_name VARCHAR(100) NOT NULL, family_name VARCHAR(100) NOT NULL ) {$wpdb->get_charset_collate()}" );
		$wpdb->query( "INSERT INTO {$wpdb->prefix}lab_register ( given_name, family_name ) VALUES ( 'An', 'Jansen' ), ( 'Piet de', 'Vries' )" );
		add_option( 'lab_register_settings', array( 'title' => 'Register' ) );
	}
);

if ( defined( 'WP_CLI' ) && WP_CLI ) {
	WP_CLI::add_command(
		'lab-register migrate',
		/**
		 * Splits the names of 1.x. There is no way back: how they were written is lost.
		 */
		static function (): void {
			global $wpdb;
			$columns = $wpdb->get_col( "SHOW COLUMNS FROM {$wpdb->prefix}lab_register" );
			if ( in_array( 'given_name', $columns, true ) ) {
				WP_CLI::success( 'Nothing to migrate.' );
				return;
			}
			if ( ! in_array( 'person', $columns, true ) ) {
				WP_CLI::error( 'The register is not in the form of 1.x.' );
			}
			$wpdb->query( "ALTER TABLE {$wpdb->prefix}lab_register ADD given_name VARCHAR(100) NOT NULL DEFAULT '', ADD family_name VARCHAR(100) NOT NULL DEFAULT ''" );
			$wpdb->query( "UPDATE {$wpdb->prefix}lab_register SET given_name = SUBSTRING_INDEX( person, ', ', -1 ), family_name = SUBSTRING_INDEX( person, ', ', 1 )" );
			$wpdb->query( "ALTER TABLE {$wpdb->prefix}lab_register DROP person" );
			update_option( 'lab_register_settings', array( 'title' => get_option( 'lab_register_title' ) ) );
			delete_option( 'lab_register_title' );
			WP_CLI::success( 'The register is migrated.' );
		}
	);
	WP_CLI::add_command(
		'lab-register index',
		/**
		 * Counts the names, as blocks with a search index fill it anew after a release.
		 */
		static function (): void {
			update_option(
				'lab_register_index',
				array(
					'version' => LAB_REGISTER_VERSION,
					'names'   => count( (array) lab_register_names() ),
				)
			);
			WP_CLI::success( 'The register is indexed.' );
		}
	);
}
