"""What people wear on head, ears, face and neck: shapes made from the head itself, without any asset."""
