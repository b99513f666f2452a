"""What people ask about durable calls: lists, one of them, its logs and graph; running it again."""
