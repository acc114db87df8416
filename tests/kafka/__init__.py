"""Tests of the Kafka client's room, most on a real broker."""
