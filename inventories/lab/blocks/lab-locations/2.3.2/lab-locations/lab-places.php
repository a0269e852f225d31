<?php
/**
 * Plugin Name:       Lab Locations
 * Description:       Opening hours. Extends a class of Lab Base without a guard, so every request fails without it.
 * Version:           2.3.2
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-locations
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

add_action(
	'plugins_loaded',
	static function (): void {
		require_once __DIR__ . '/src/class-lab-locations-plugin.php';
		( new Lab_Locations_Plugin( 'locations' ) )->boot();
	}
);
