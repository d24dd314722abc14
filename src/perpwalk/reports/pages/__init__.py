"""The interactive pages: ``report.html`` of a run, ``comparison.html`` of a comparison.

Each is one file that opens from disk and fetches nothing. Python says what is shown and packs the
data (``packing``, ``curves``, ``heat``, ``over_time``); templates lay it out; the scripts under
``assets`` draw it with plotly.js.
"""
