<?php
/**
 * What the theme asks of WordPress.
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

add_action(
	'after_setup_theme',
	static function (): void {
		add_theme_support( 'title-tag' );
		add_theme_support( 'html5', array( 'comment-form', 'comment-list', 'search-form' ) );
	}
);

add_action(
	'wp_enqueue_scripts',
	static function (): void {
		wp_enqueue_style( 'lab-theme', get_stylesheet_uri(), array(), wp_get_theme()->get( 'Version' ) );
	}
);
