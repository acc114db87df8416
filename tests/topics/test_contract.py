"""The contract of Topics on every broker that `conftest` names."""

from __future__ import annotations

from tests.topics.contract import TopicsContract


class TestTopics(TopicsContract):
    pass
