"""What happens to the batch axis: lost by a squeeze or a flatten, broadcast inside a loss."""
