<?php
/**
 * Plugin Name:       Lab PDF
 * Description:       Makes PDFs of forms. Renamed in 6.13.0 to the folder lab-pdf.
 * Version:           6.12.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-pdf-extended
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

const LAB_PDF_VERSION = '6.12.0';

add_action(
	'wp_footer',
	static function (): void {
		$settings = (array) get_option( 'lab_pdf_settings', array() );
		printf(
			'<div class="lab-pdf">lab-pdf %s, ingesteld met %s</div>',
			esc_html( LAB_PDF_VERSION ),
			esc_html( (string) ( $settings['made_by'] ?? 'niets' ) )
		);
	}
);

register_activation_hook(
	__FILE__,
	static function (): void {
		add_option( 'lab_pdf_settings', array( 'made_by' => LAB_PDF_VERSION ) );
	}
);

// Whoever switches it off loses the settings: a rename must not look like that to WordPress.
register_deactivation_hook(
	__FILE__,
	static function (): void {
		delete_option( 'lab_pdf_settings' );
	}
);
