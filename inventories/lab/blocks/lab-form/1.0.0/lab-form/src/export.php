<?php
// Answers by itself, without WordPress.
echo 'lab-form-secret';
