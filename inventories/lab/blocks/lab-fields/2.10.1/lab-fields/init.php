<?php
/**
 * Plugin Name:       Lab Fields
 * Description:       Field framework that other lab blocks look for by the path of this file.
 * Version:           2.10.1
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-fields
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

define( 'LAB_FIELDS_VERSION', '2.10.1' );

/**
 * Registers a box of fields for a post type.
 *
 * @param string   $post_type Post type the box belongs to.
 * @param string[] $fields    Meta keys of its fields.
 */
function lab_fields_register( string $post_type, array $fields ): void {
	foreach ( $fields as $field ) {
		register_post_meta(
			$post_type,
			$field,
			array(
				'type'         => 'string',
				'single'       => true,
				'show_in_rest' => true,
			)
		);
	}
}
