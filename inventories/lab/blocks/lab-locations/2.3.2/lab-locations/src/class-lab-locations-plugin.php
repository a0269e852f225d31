<?php
/**
 * The block itself.
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

/**
 * Locations with their opening hours.
 */
class Lab_Locations_Plugin extends Lab_Base_Plugin {

	/**
	 * Registers the post type beside the route.
	 */
	public function boot(): void {
		parent::boot();
		add_action(
			'init',
			static function (): void {
				lab_register_post_type( 'lab_location', 'Locaties' );
			}
		);
	}
}
