"""A warm process that serves another program, such as 3D Slicer; the protocol is described in docs/worker.md.

- `command` : the command `topomae worker`.
- `requests`, `protocol` : what can be asked for; lines in and answers out.
- `server` : reads requests while one is being done; cancels; ends.
- `tasks` : what a request that is being done may say.
- `services` : who does which request; heavy packages are imported in the background.
- `segmentation`, `betti`, `diagrams`, `reconstruction`, `key_points` : the work.
- `arrays`, `modalities`, `model_cache`, `crops` : volumes by file; models and prepared volumes that are kept.
"""
