"""Looking at demonstration sets: the front door to contact sheets, plots, video and recordings.

docs/viewing.md says what they show.
"""

from bridle.training.viewing.looking import ViewResult, view
from bridle.training.viewing.oddities import Finding

__all__ = ["Finding", "ViewResult", "view"]
