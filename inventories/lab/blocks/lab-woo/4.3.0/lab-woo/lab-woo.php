<?php
/**
 * Plugin Name:       Lab Woo
 * Description:       Publishes decisions. Switches itself off without the function lab_register_post_type.
 * Version:           4.3.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-woo
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

add_action(
	'plugins_loaded',
	static function (): void {
		if ( ! function_exists( 'lab_register_post_type' ) ) {
			require_once ABSPATH . 'wp-admin/includes/plugin.php';
			deactivate_plugins( plugin_basename( __FILE__ ) );
			return;
		}
		add_action( 'init', 'lab_woo_register' );
		add_action( 'rest_api_init', 'lab_woo_register_route' );
	}
);

/**
 * Registers the post type of decisions.
 */
function lab_woo_register(): void {
	lab_register_post_type( 'lab_woo', 'Woo-verzoeken' );
}

/**
 * Registers `lab/woo/v1/items`.
 */
function lab_woo_register_route(): void {
	register_rest_route(
		'lab/woo/v1',
		'/items',
		array(
			'methods'             => 'GET',
			'permission_callback' => '__return_true',
			'callback'            => static function (): array {
				return wp_list_pluck( get_posts( array( 'post_type' => 'lab_woo' ) ), 'post_title' );
			},
		)
	);
}
