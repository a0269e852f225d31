<?php
/**
 * Plugin Name:       Lab CPT B
 * Description:       Registers a post type with a library that Lab CPT A brings too.
 * Version:           1.0.0
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

// Both blocks bring this library; the first that is loaded wins. Here it is a class.
if ( ! defined( 'LAB_CPT_LIBRARY' ) ) {
	define( 'LAB_CPT_LIBRARY', 4 );

	/**
	 * A public post type.
	 */
	class Lab_Cpt {

		/**
		 * Registers it.
		 *
		 * @param string $name  Post type.
		 * @param string $label Its name for people.
		 */
		public function __construct( string $name, string $label ) {
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
}

add_action(
	'init',
	static function (): void {
		new Lab_Cpt( 'lab_cpt_b', 'Vergunningen' );
	}
);
