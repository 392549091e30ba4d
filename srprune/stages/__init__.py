"""One function a verb: config and artifacts in, artifact out. Nothing here prints."""
