"""Parts of the report: safe HTML, figures, slice pictures, what a run folder tells."""
