<?php
/**
 * Plugin Name:       Lab Register
 * Description:       Shows a register of people. Needs the data of 2.x migrated; cannot read that of 1.x.
 * Version:           3.0.0
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

const LAB_REGISTER_VERSION = '3.0.0';

/**
 * Returns the names in the table; `null` when it is of another form.
 *
 * Here it has one column, `name`, as it is said.
 *
 * @return string[]|null
 */
function lab_register_names(): ?array {
	global $wpdb;
	$shown = $wpdb->suppress_errors();
	$names = $wpdb->get_col( "SELECT name FROM {$wpdb->prefix}lab_register ORDER BY id" );
	$wpdb->suppress_errors( $shown );
	return '' === $wpdb->last_error ? $names : null;
}

/**
 * Returns the heading that is kept in an option.
 */
function lab_register_heading(): string {
	return (string) ( get_option( 'lab_register', array() )['heading'] ?? '' );
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
		$wpdb->query( "CREATE TABLE {$wpdb->prefix}lab_register ( id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(200) NOT NULL ) {$wpdb->get_charset_collate()}" );
		$wpdb->query( "INSERT INTO {$wpdb->prefix}lab_register ( name ) VALUES ( 'An Jansen' ), ( 'Piet de Vries' )" );
		add_option( 'lab_register', array( 'heading' => 'Register' ) );
	}
);

if ( defined( 'WP_CLI' ) && WP_CLI ) {
	WP_CLI::add_command(
		'lab-register migrate',
		/**
		 * Joins the names of 2.x. There is no way back: which part is the family name is lost.
		 */
		static function (): void {
			global $wpdb;
			$columns = $wpdb->get_col( "SHOW COLUMNS FROM {$wpdb->prefix}lab_register" );
			if ( in_array( 'name', $columns, true ) ) {
				WP_CLI::success( 'Nothing to migrate.' );
				return;
			}
			if ( ! in_array( 'family_name', $columns, true ) ) {
				WP_CLI::error( 'The register is not in the form of 2.x.' );
			}
			$wpdb->query( "ALTER TABLE {$wpdb->prefix}lab_register ADD name VARCHAR(200) NOT NULL DEFAULT ''" );
			$wpdb->query( "UPDATE {$wpdb->prefix}lab_register SET name = CONCAT( given_name, ' ', family_name )" );
			$wpdb->query( "ALTER TABLE {$wpdb->prefix}lab_register DROP given_name, DROP family_name" );
			update_option( 'lab_register', array( 'heading' => get_option( 'lab_register_settings' )['title'] ) );
			delete_option( 'lab_register_settings' );
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
