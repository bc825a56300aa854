"""Hair that is grown: strands from scalp, chin and brows by parameters, without any asset."""
