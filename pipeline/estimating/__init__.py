"""What a build of many photographs takes on a cluster: numbers measured at a finished build, and a simulation from them."""
