"""Order events of platforms and frameworks, read by data.

A mapping file says where a foreign event keeps what; docs/mappings.md describes it. It is compiled and checked when it
is loaded, and a mistake in it is told with its line.
"""

from consumer.mappings.library import Reader, builtin_names, builtin_text, load_mapping, load_reader
from consumer.mappings.source import MappingError

__all__ = ["MappingError", "Reader", "builtin_names", "builtin_text", "load_mapping", "load_reader"]
