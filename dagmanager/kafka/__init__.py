"""How this house speaks to Kafka: client options, what errors mean, requests and deliveries with time limits; no decisions."""
