"""What is found out about values: findings, examples, notices, and the remedies that settle them."""
