<?php
/**
 * Plugin Name:       Lab CPT B
 * Description:       Registers a post type with a library that Lab CPT A brings too.
 * Version:           2.0.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-cpt-b
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

// Both blocks bring this library; the first that is loaded wins. Since 2.0.0 it is a function, so
// that a block of 1.x beside this one fails.
if ( ! defined( 'LAB_CPT_LIBRARY' ) ) {
	define( 'LAB_CPT_LIBRARY', 5 );

	/**
	 * Registers a public post type.
	 *
	 * @param string $name  Post type.
	 * @param string $label Its name for people.
	 */
	function lab_cpt_register( string $name, string $label ): void {
		register_post_type(
			$name,
			array(
				'label'        => $label,
				'public'       => true,
				'show_in_rest' => true,
			)
		);
	}
}

add_action(
	'init',
	static function (): void {
		lab_cpt_register( 'lab_cpt_b', 'Vergunningen' );
	}
);
