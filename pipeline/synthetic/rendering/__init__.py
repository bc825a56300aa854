"""Pictures of people: z-buffer, exact labels, light, path tracing, denoising."""
