<?php
/**
 * Plugin Name:       Lab News
 * Description:       Shows the municipality's news below every page.
 * Version:           1.0.0
 * Requires at least: 6.2
 * Requires PHP:      7.4
 * Author:            The owc-deploy maintainers
 * License:           EUPL-1.2
 * License URI:       https://eupl.eu/1.2/en/
 * Text Domain:       lab-news
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

const LAB_NEWS_VERSION = '1.0.0';

add_action(
	'wp_footer',
	static function (): void {
		printf(
			'<div class="lab-news">Nieuws van %s — lab-news %s</div>',
			esc_html( get_bloginfo( 'name' ) ),
			esc_html( LAB_NEWS_VERSION )
		);
	}
);

add_action(
	'init',
	static function (): void {
		if ( ! wp_next_scheduled( 'lab_news_fetch' ) ) {
			wp_schedule_event( time(), 'hourly', 'lab_news_fetch' );
		}
	}
);

add_action(
	'lab_news_fetch',
	static function (): void {
		update_option( 'lab_news_fetched_at', time(), false );
	}
);

register_deactivation_hook(
	__FILE__,
	static function (): void {
		wp_clear_scheduled_hook( 'lab_news_fetch' );
	}
);
