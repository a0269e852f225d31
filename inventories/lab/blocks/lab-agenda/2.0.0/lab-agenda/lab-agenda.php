<?php
/**
 * Plugin Name:       Lab Agenda
 * Description:       Shows what happens in the municipality. Needs its data migrated from 1.x.
 * Version:           2.0.0
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

const LAB_AGENDA_VERSION = '2.0.0';

/**
 * Returns the titles of the events: a mapping of day to titles in the option `lab_agenda_days`.
 *
 * @return string[]
 */
function lab_agenda_titles(): array {
	$days = (array) get_option( 'lab_agenda_days', array() );
	return $days ? array_merge( ...array_values( $days ) ) : array();
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

if ( defined( 'WP_CLI' ) && WP_CLI ) {
	WP_CLI::add_command(
		'lab-agenda migrate',
		/**
		 * Moves the events of 1.x to the form of 2.x. There is no way back: the time of day is lost.
		 */
		static function (): void {
			$events = get_option( 'lab_agenda_events', null );
			if ( null === $events ) {
				WP_CLI::success( 'Nothing to migrate.' );
				return;
			}
			$days = (array) get_option( 'lab_agenda_days', array() );
			foreach ( (array) $events as $event ) {
				$days[ substr( $event['starts_at'], 0, 10 ) ][] = $event['title'];
			}
			update_option( 'lab_agenda_days', $days );
			delete_option( 'lab_agenda_events' );
			WP_CLI::success( count( (array) $events ) . ' events migrated.' );
		}
	);
}
