"""Speed on real servers, beside a bare hop through the same broker in the same run."""
