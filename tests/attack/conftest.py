"""What the rooms' tests have, for those who wish us ill."""
from tests.fetch.conftest import operator, publisher, ssh_key, ssh_maker, unsteady  # noqa: F401
