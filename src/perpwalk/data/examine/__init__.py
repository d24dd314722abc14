"""Examining data: everything that is odd or wrong with files, not only the first thing.

Reading (``perpwalk.data.read_bars`` and its like) stops at the first breach. Here the rows that can
be understood are taken, whatever is wrong with the others, and all checks are made on them.
Whether a file would be refused is asked of the very reader that would refuse it.
"""

from perpwalk.data.examine.core import Examination, examine_config, examine_files

__all__ = ["Examination", "examine_config", "examine_files"]
