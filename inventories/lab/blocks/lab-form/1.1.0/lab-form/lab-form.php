<?php
/**
 * Plugin Name:       Lab Form
 * Description:       Shows nobody what was sent in.
 * Version:           1.1.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-form
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

add_action(
	'rest_api_init',
	static function (): void {
		foreach ( array( '/entries', '/entries/(?P<id>\d+)' ) as $route ) {
			register_rest_route(
				'lab/form/v1',
				$route,
				array(
					'methods'             => array( 'GET', 'POST' ),
					'permission_callback' => '__return_true',
					'callback'            => 'lab_form_entries',
					'allow_batch'         => array( 'v1' => true ),
				)
			);
		}
	}
);
add_action(
	'wp_ajax_nopriv_lab_form_entries',
	static function (): void {
		wp_send_json( lab_form_entries() );
	}
);
// Asks for its own route from within WordPress.
add_action(
	'wp_ajax_nopriv_lab_form_inside',
	static function (): void {
		wp_send_json( rest_do_request( new WP_REST_Request( 'GET', '/lab/form/v1/entries' ) )->get_data() );
	}
);

/**
 * Returns what was sent in.
 */
function lab_form_entries(): array {
	return array( 'entries' => array( 'none' ) );
}
