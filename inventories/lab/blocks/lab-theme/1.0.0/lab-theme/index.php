<?php
/**
 * Every page: the posts that were asked for, with comments below a single one.
 *
 * @package Owc_Deploy_Lab
 */

get_header();

while ( have_posts() ) :
	the_post();
	?>
	<article id="post-<?php the_ID(); ?>" <?php post_class(); ?>>
		<h1><a href="<?php the_permalink(); ?>"><?php the_title(); ?></a></h1>
		<?php the_content(); ?>
	</article>
	<?php
	if ( is_singular() ) {
		comments_template();
	}
endwhile;

get_footer();
