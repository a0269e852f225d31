<?php
/**
 * The comments of a post, and the form to add one.
 *
 * @package Owc_Deploy_Lab
 */

if ( post_password_required() ) {
	return;
}
?>
<section id="comments">
	<ol>
		<?php wp_list_comments(); ?>
	</ol>
	<?php comment_form(); ?>
</section>
