"""Object stores and web servers: connections, retries with back-off, whole reads, and what robots.txt allows."""
