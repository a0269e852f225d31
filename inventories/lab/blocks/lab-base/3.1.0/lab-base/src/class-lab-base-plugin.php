<?php
/**
 * What every block on Lab Base extends.
 *
 * @package Owc_Deploy_Lab
 */

declare( strict_types=1 );

defined( 'ABSPATH' ) || exit;

/**
 * A block with a REST namespace of its own.
 */
class Lab_Base_Plugin {

	/**
	 * Name of the block in its REST namespace.
	 *
	 * @var string
	 */
	protected $name;

	/**
	 * Sets the name.
	 *
	 * @param string $name Name of the block in its REST namespace.
	 */
	public function __construct( string $name ) {
		$this->name = $name;
	}

	/**
	 * Registers the block's route.
	 */
	public function boot(): void {
		add_action( 'rest_api_init', array( $this, 'register_route' ) );
	}

	/**
	 * Registers `lab/<name>/v1/status`.
	 */
	public function register_route(): void {
		register_rest_route(
			'lab/' . $this->name . '/v1',
			'/status',
			array(
				'methods'             => 'GET',
				'permission_callback' => '__return_true',
				'callback'            => array( $this, 'status' ),
			)
		);
	}

	/**
	 * Answers the route.
	 *
	 * @return array{block: string, site: string}
	 */
	public function status(): array {
		return array(
			'block' => $this->name,
			'site'  => get_bloginfo( 'name' ),
		);
	}
}
