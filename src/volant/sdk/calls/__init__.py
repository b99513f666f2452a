"""Making calls: the forms a function can be called in, single calls, streams, maps, handles.

forms ──► calling (one call, one stream)      call (a handle on a spawned call)
   └────► mapdrive ──► mapping (many inputs through a window)
"""
