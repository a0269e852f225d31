"""Loaded by Ansible, not imported by owc_deploy: plugins are files in a folder to it."""
