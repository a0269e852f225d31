<?php
/**
 * The function that other blocks need.
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

if ( ! function_exists( 'lab_register_post_type' ) ) {
	/**
	 * Registers a public post type with its REST routes.
	 *
	 * @param string $name  Post type.
	 * @param string $label Its name for people.
	 */
	function lab_register_post_type( string $name, string $label ): void {
		register_post_type(
			$name,
			array(
				'label'        => $label,
				'public'       => true,
				'show_in_rest' => true,
				'has_archive'  => true,
				'supports'     => array( 'title', 'editor', 'custom-fields' ),
			)
		);
	}
}
