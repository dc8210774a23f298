"""What the tests of the static pass share."""

import pytest

pytest.register_assert_rewrite("programs")
