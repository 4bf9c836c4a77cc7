"""A small Wagtail site: articles with streams, tags, images and authors."""
