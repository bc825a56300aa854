"""Pictures without rays: deferred shading over the buffers of the z-buffer."""
