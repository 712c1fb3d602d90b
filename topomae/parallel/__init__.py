"""Several processes that train one network together: started, counted, given their share, and averaged over."""
