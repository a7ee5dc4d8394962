"""What the test runner, the end-to-end tests and the bench scripts share: tools, servers, a small S3 client."""
