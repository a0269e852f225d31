<?php
/**
 * Plugin Name:       Lab Fault
 * Description:       Keeps numbered entries. Needs the data of 1.x migrated.
 * Version:           2.0.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-fault
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

const LAB_FAULT_VERSION = '2.0.0';

/**
 * Returns the numbers of the entries; `null` when the table is of another form.
 *
 * Here it has the column `label`, such as `nr-0000000007`.
 *
 * @return int[]|null
 */
function lab_fault_numbers(): ?array {
	global $wpdb;
	$shown   = $wpdb->suppress_errors();
	$numbers = $wpdb->get_col( "SELECT CAST( SUBSTRING( label, 4 ) AS UNSIGNED ) FROM {$wpdb->prefix}lab_fault_entries ORDER BY label" );
	$wpdb->suppress_errors( $shown );
	return '' === $wpdb->last_error ? array_map( 'intval', $numbers ) : null;
}

add_action(
	'rest_api_init',
	static function (): void {
		register_rest_route(
			'lab/fault/v1',
			'/entries',
			array(
				array(
					'methods'             => 'GET',
					'permission_callback' => '__return_true',
					'callback'            => 'lab_fault_numbers',
				),
				array(
					'methods'             => 'POST',
					'permission_callback' => '__return_true',
					'args'                => array(
						'number' => array(
							'type'     => 'integer',
							'required' => true,
						),
					),
					'callback'            => static function ( WP_REST_Request $request ) {
						global $wpdb;
						$kept = $wpdb->insert( $wpdb->prefix . 'lab_fault_entries', array( 'label' => sprintf( 'nr-%010d', $request['number'] ) ) );
						return $kept ? array( 'number' => $request['number'] ) : new WP_Error( 'lab_fault', 'Not kept.', array( 'status' => 500 ) );
					},
				),
			)
		);
	}
);

add_action(
	'wp_footer',
	static function (): void {
		$numbers = lab_fault_numbers();
		printf(
			'<div class="lab-fault">Meldingen — lab-fault %s: %s</div>',
			esc_html( LAB_FAULT_VERSION ),
			esc_html( null === $numbers ? 'onleesbaar' : (string) count( $numbers ) )
		);
	}
);

add_action(
	'init',
	static function (): void {
		if ( ! wp_next_scheduled( 'lab_fault_tick' ) ) {
			wp_schedule_event( time(), 'hourly', 'lab_fault_tick' );
		}
	}
);

add_action(
	'lab_fault_tick',
	static function (): void {
		update_option( 'lab_fault_ticked_at', time(), false );
	}
);

register_activation_hook(
	__FILE__,
	static function (): void {
		global $wpdb;
		if ( $wpdb->get_var( "SHOW TABLES LIKE '{$wpdb->prefix}lab_fault_entries'" ) ) {
			return;
		}
		$wpdb->query( "CREATE TABLE {$wpdb->prefix}lab_fault_entries ( id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, label CHAR(13) NOT NULL UNIQUE ) {$wpdb->get_charset_collate()}" );
		$wpdb->query( "INSERT INTO {$wpdb->prefix}lab_fault_entries ( label ) VALUES ( 'nr-0000000001' ), ( 'nr-0000000002' ), ( 'nr-0000000003' ), ( 'nr-0000000004' )" );
	}
);

register_deactivation_hook(
	__FILE__,
	static function (): void {
		wp_clear_scheduled_hook( 'lab_fault_tick' );
	}
);

if ( defined( 'WP_CLI' ) && WP_CLI ) {
	WP_CLI::add_command(
		'lab-fault migrate',
		/**
		 * Makes labels of the numbers, slowly, as a large table does. There is no way back.
		 */
		static function (): void {
			global $wpdb;
			$columns = $wpdb->get_col( "SHOW COLUMNS FROM {$wpdb->prefix}lab_fault_entries" );
			if ( in_array( 'label', $columns, true ) ) {
				WP_CLI::success( 'Nothing to migrate.' );
				return;
			}
			$change = static function ( string $sql ) use ( $wpdb ): void {
				if ( false === $wpdb->query( $sql ) ) {
					WP_CLI::error( $wpdb->last_error );
				}
			};
			$change( "ALTER TABLE {$wpdb->prefix}lab_fault_entries ADD label CHAR(13) NULL UNIQUE" );
			foreach ( array( 0, 1 ) as $half ) {
				$change( $wpdb->prepare( "UPDATE {$wpdb->prefix}lab_fault_entries SET label = CONCAT( 'nr-', LPAD( number, 10, '0' ) ) WHERE MOD( id, 2 ) = %d", $half ) );
				usleep( 700000 );
			}
			$change( "ALTER TABLE {$wpdb->prefix}lab_fault_entries DROP number, MODIFY label CHAR(13) NOT NULL" );
			WP_CLI::success( 'The entries are migrated.' );
		}
	);
}
