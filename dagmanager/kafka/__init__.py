"""The Kafka client library: options, errors, requests and deliveries with time limits. No decisions, no settings."""
