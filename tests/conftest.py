"""Settings for all tests."""

from hypothesis import settings

# No test times its examples: a busy machine would fail a property that holds. Speed is measured in bench/.
settings.register_profile("tocsin", deadline=None)
settings.load_profile("tocsin")
