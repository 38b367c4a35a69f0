__version__ = "0.1.0"

import sys
if "execnb.shell" in sys.modules: # nbdev_test runs a notebook
    from gymenv_nb.time_limit import limit_notebooks, one_thread_each, show_once
    one_thread_each()
    show_once()
    limit_notebooks()
