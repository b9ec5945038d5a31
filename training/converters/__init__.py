"""Converting data sets of others to demonstration sets, and ours to LeRobot's.

docs/converters.md says what becomes what.
"""

from bridle.training.converters.conversion import ConvertConfig, convert
from bridle.training.converters.formats import FORMATS
from bridle.training.converters.report import Report
from bridle.training.converters.source import ConversionError

__all__ = ["FORMATS", "ConversionError", "ConvertConfig", "Report", "convert"]
