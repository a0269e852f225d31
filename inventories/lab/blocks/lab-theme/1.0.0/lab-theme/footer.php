<?php
/**
 * The bottom of every page.
 *
 * @package Owc_Deploy_Lab
 */

?>
</main>
<footer>
	<p class="lab-theme-version">lab-theme <?php echo esc_html( wp_get_theme()->get( 'Version' ) ); ?></p>
</footer>
<?php wp_footer(); ?>
</body>
</html>
