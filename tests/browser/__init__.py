"""A headless Chromium for tests: found or fetched once, and driven over its debugging protocol."""
