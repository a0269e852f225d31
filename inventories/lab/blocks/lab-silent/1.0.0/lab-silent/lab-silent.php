<?php
/**
 * Plugin Name:       Lab Silent
 * Description:       Marks every page in a comment.
 * Version:           1.0.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-silent
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

const LAB_SILENT_VERSION = '1.0.0';

add_action(
	'wp_footer',
	static function (): void {
		printf( '<!-- lab-silent %s -->', esc_html( LAB_SILENT_VERSION ) );
	}
);
