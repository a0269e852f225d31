<?php
/**
 * Plugin Name:       Lab Register
 * Description:       Shows a register of people, kept in a table of its own.
 * Version:           1.0.0
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

const LAB_REGISTER_VERSION = '1.0.0';

/**
 * Returns the names in the table; `null` when it is of another form.
 *
 * Here it has one column, `person`, with the family name first.
 *
 * @return string[]|null
 */
function lab_register_names(): ?array {
	global $wpdb;
	$shown = $wpdb->suppress_errors();
	$names = $wpdb->get_col( "SELECT person FROM {$wpdb->prefix}lab_register ORDER BY id" );
	$wpdb->suppress_errors( $shown );
	return '' === $wpdb->last_error ? $names : null;
}

/**
 * Returns the heading that is kept in an option.
 */
function lab_register_heading(): string {
	return (string) get_option( 'lab_register_title', '' );
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
		$wpdb->query( "CREATE TABLE {$wpdb->prefix}lab_register ( id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, person VARCHAR(200) NOT NULL ) {$wpdb->get_charset_collate()}" );
		$wpdb->query( "INSERT INTO {$wpdb->prefix}lab_register ( person ) VALUES ( 'Jansen, An' ), ( 'Vries, Piet de' )" );
		add_option( 'lab_register_title', 'Register' );
	}
);
