<?php
/**
 * Plugin Name:       Lab Agenda
 * Description:       Shows what happens in the municipality.
 * Version:           1.0.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-agenda
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

const LAB_AGENDA_VERSION = '1.0.0';

/**
 * Returns the titles of the events: a list of `{title, starts_at}` in the option `lab_agenda_events`.
 *
 * @return string[]
 */
function lab_agenda_titles(): array {
	return wp_list_pluck( (array) get_option( 'lab_agenda_events', array() ), 'title' );
}

add_action(
	'wp_footer',
	static function (): void {
		$titles = array_map( 'esc_html', lab_agenda_titles() );
		printf(
			'<div class="lab-agenda">Agenda — lab-agenda %s: %s</div>',
			esc_html( LAB_AGENDA_VERSION ),
			$titles ? implode( ', ', $titles ) : 'geen activiteiten' // phpcs:ignore WordPress.Security.EscapeOutput -- Escaped above.
		);
	}
);

register_activation_hook(
	__FILE__,
	static function (): void {
		add_option(
			'lab_agenda_events',
			array(
				array(
					'title'     => 'Braderie',
					'starts_at' => '2027-04-27T10:00:00+02:00',
				),
			)
		);
	}
);
