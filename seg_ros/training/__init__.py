"""From labelled images to a model folder; with ``nets`` and ``export`` the importers of torch."""
